"""Against a real `vllm serve` of the packaged model on the CPU, started once for this file."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nucleus_data.engines.captioner import Ask, EngineSettings, Sampling
from nucleus_data.engines.grammar import check_schema, follows
from nucleus_data.engines.load import load_engine
from nucleus_data.errors import RequestError
from tests.support.captioned import HAS, hostile, requests
from tests.support.captions.vllm_server import VllmServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # vLLM's start is among it
    pytest.mark.skipif(not HAS["vllm"], reason="vLLM is not installed"),
]
SCENES = 24
# In a process of its own, as vLLM changes the one that it is in.
IN_PROCESS = f"""
import json, os, sys
from nucleus_data.engines.captioner import EngineSettings
from nucleus_data.engines.load import load_engine
from tests.support.captioned import requests
from tests.nucleus_data.engines.test_captioner_server_vllm import asked
made = asked(load_engine(EngineSettings(engine="vllm", max_side=512)), requests({SCENES}))
print(json.dumps({{key: [m.text, m.tokens, m.prompt_tokens] for key, m in made.items()}}))
sys.stdout.flush()
os._exit(0)
"""


def asked(engine, pictures, drawn=2):
    """Captions of pictures, those of the first drawn too, by key; every request comes back once."""
    pictures = list(pictures)
    made = {}
    for kind, some in (("greedy", pictures), ("drawn", pictures[:drawn])):
        for key, image, prompt in some:
            how = Sampling(96)
            # Few at a time: vLLM on a CPU can't draw for a prompt that it reads in two pieces.
            if kind == "drawn":
                how = Sampling(24, 1.0, 0.9, 0.5, 1.1, 2, seed=7)
            engine.submit(engine.prepare(image, [Ask(f"{key}/{kind}", prompt, how)]))
        done = drained(engine)
        assert sorted(one.key for one in done) == sorted(f"{key}/{kind}" for key, *_ in some)
        made |= {one.key: one for one in done}
    return made


def drained(engine, within_s=200):
    done, end = [], time.monotonic() + within_s
    while engine.pending():
        assert time.monotonic() < end, "it never came back"
        done += engine.step()
    return done


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = VllmServer(tmp_path_factory.mktemp("vllm"))
    server.start()
    try:
        yield server.wait()
    finally:
        server.kill()


def engine_of(server, settings=None, **servers):
    servers = {"urls": [server.url], "concurrency": 16, **servers}
    settings = {"engine": "server", "max_side": 512, **(settings or {})}
    return load_engine(EngineSettings(servers=servers, **settings))


@pytest.fixture
def engine(server):
    engine = engine_of(server)
    yield engine
    engine.close()


def test_it_tells_what_is_compared(server, engine, capsys):
    (met,) = engine._pool.servers
    assert (met.told.max_model_len, met.told.kv_cache_dtype) == (4096, "auto")
    assert met.told.version == met.vllm
    engine_of(server, settings={"dtype": "float32"}).close()
    assert "dtype=float32: not compared, as not every server reports it" in capsys.readouterr().err
    with pytest.raises(RequestError, match=r"kv_cache_dtype is 'fp8', but .* has 'auto'"):
        engine_of(server, settings={"vllm_args": {"kv_cache_dtype": "fp8"}})


def test_its_texts_are_those_of_the_engine_in_this_process(engine):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IN_PROCESS],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    expected = json.loads(done.stdout.splitlines()[-1])
    made = asked(engine, requests(SCENES))
    assert engine.version.startswith("vllm ")
    found = {key: [one.text, one.tokens, one.prompt_tokens] for key, one in made.items()}
    same = [found[key] == expected[key] for key in expected]
    assert sum(same) / len(same) >= 0.97
    counts = engine.counts()
    assert counts["pictures"] == len(made) == 2 * SCENES + 2
    assert counts["prompt_tokens"] == sum(one.prompt_tokens for one in made.values())
    assert counts["tokens"] == sum(one.tokens for one in made.values())


def test_hostile_texts_are_letters_and_cost_themselves(engine):
    _, image, prompt = next(requests(1))
    for key, (picture, text) in hostile(image, prompt).items():
        prepared = engine.prepare(picture, [Ask(key, text, Sampling(24))])
        engine.submit(prepared)
        assert [one.key for one in prepared.failed] == (["surrogate"] if key == "surrogate" else [])
    made = {one.key: one for one in drained(engine)}
    assert {key for key, one in made.items() if one.error} == {"205:1"}
    assert (made["205:1"].reason, made["fine"].text[:8]) == ("caption_refused", "A large ")
    # Each is as many letters, and none of them a picture or the end of the user's turn.
    more = made["image_pad"].prompt_tokens - made["fine"].prompt_tokens
    assert more == engine.count_tokens(" <|image_pad|>") > 3


def test_a_structure_a_text_alone_and_what_does_not_fit(engine):
    schema = check_schema(
        {
            "type": "object",
            "properties": {"type": {"enum": ["photo", "drawing"]}, "sharp": {"type": "boolean"}},
            "required": ["type", "sharp"],
            "additionalProperties": False,
        },
        "schema",
    )
    _, image, prompt = next(requests(1))
    asks = [
        Ask("schema", prompt, Sampling(64), schema=schema),
        Ask("text", "Shorten: a red ring.", Sampling(8), sees_picture=False),
        Ask("long", "word " * 5000, Sampling(8)),
        Ask("no room", "word " * 3980, Sampling(600)),
        Ask("stop", prompt, Sampling(24, stop=(" yellow",))),
    ]
    engine.submit(engine.prepare(image, asks))
    made = {one.key: one for one in drained(engine)}
    assert follows(made["schema"].text, schema) is None
    assert len(made["schema"].text) < 60, "white space is bounded"
    assert made["text"].prompt_tokens < 40
    assert (made["long"].reason, made["no room"].reason) == ("too_long", "too_long")
    assert made["stop"].text == "A large"
    assert [name for name, one in made.items() if one.at_stop] == ["stop"]


def test_killed_and_started_again_in_mid_run_every_request_comes_once(server, engine):
    whole = asked(engine, requests(8), drawn=0)
    pictures = list(requests(40))
    other = engine_of(server, concurrency=8, gives_up_s=200)
    try:
        for key, image, prompt in pictures:
            asks = [Ask(f"{key}/greedy", prompt, Sampling(96))]
            other.submit(other.prepare(image, asks))
        seed = random.SystemRandom().randrange(1 << 16)
        after = random.Random(seed).randint(1, len(pictures) - 8)
        print(f"seed {seed}: killed after {after} of {len(pictures)} answers")
        done = []
        while len(done) < after:
            done += other.step()
        server.kill()
        for _ in range(20):
            done += other.step()
        server.start()
        done += drained(other)
        counts = other.counts()
    finally:
        other.close()
    assert sorted(one.key for one in done) == sorted(f"{key}/greedy" for key, *_ in pictures)
    assert not [one for one in done if one.error]
    assert counts["asked_again"] <= 8, "what was in flight"
    made = {one.key: one.text for one in done}
    same = [made[key] == one.text for key, one in whole.items()]
    print(f"{counts['asked_again']} asked again; {sum(same)} of {len(same)} texts equal")
    assert sum(same) / len(same) >= 0.9
