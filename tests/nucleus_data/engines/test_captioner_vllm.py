import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.captioned import HAS, caption_all, check_penalised, needs_torch, penalised
from tests.support.captions import families
from tests.support.captions.thinker import check_thoughts, make_thinker, thoughts

needs_vllm = pytest.mark.skipif(not HAS["vllm"], reason="vLLM is not installed")
# vLLM warns while it is imported and changes its process, so it has a process of its own; and in
# that a thread, as in an actor. All models are in one, as most of the time is vLLM's import.
VLLM_SCRIPT = """
import dataclasses, json, os, sys, threading
from concurrent.futures import ThreadPoolExecutor

import torch
from PIL import Image
from nucleus_data.engines.captioner import Ask, EngineSettings, Sampling
from nucleus_data.engines.load import load_engine
from tests.support.captioned import ask, caption_all, drain, hostile, penalised, requests
from tests.support.captions.families import captioned
from tests.support.captions.thinker import thoughts

FOLDERS = json.loads(sys.argv[1])
SCHEMA = json.dumps({
    "type": "object", "additionalProperties": False, "required": ["kind", "quiet"],
    "properties": {"kind": {"enum": ["photo", "drawing"]}, "quiet": {"type": "boolean"}},
})

def main():
    engine = load_engine(EngineSettings(engine="vllm", max_side=256))
    made = {"greedy": caption_all(engine, 32), "drawn": caption_all(engine, 8, 1.0)}
    made["drawn again"] = caption_all(engine, 4, 1.0)
    _, image, prompt = next(requests(1))
    sampled = {"cut": (prompt, 3), "refused": (prompt * 1000, 3), "no room": (prompt, 4090)}
    asks = [Ask(key, text, Sampling(most)) for key, (text, most) in sampled.items()]
    made["odd"] = drain(engine, ask(engine, *asks, image))
    failed = []
    for key, (picture, text) in hostile(image, prompt).items():
        failed += ask(engine, Ask(key, text, Sampling(24)), picture)
    made["hostile"] = drain(engine, failed)
    made["hostile"] |= drain(engine, ask(engine, Ask("alone", prompt, Sampling(24)), image))

    # One picture, many questions.
    pictures = {}
    for key, picture, text in requests(56):
        number = int(key.split("/")[0])
        if number >= 32:  # not seen by this engine before
            pictures.setdefault(number, (picture, []))[1].append(Ask(key, text, Sampling(128)))
    for number, (_, asks) in pictures.items():
        asks.append(Ask(f"{number}/other", "What is in this image?", Sampling(16)))
    with ThreadPoolExecutor(4) as pool:
        prepared = list(pool.map(lambda pair: engine.prepare(*pair), pictures.values()))
    engine.counts()
    for one in prepared:
        engine.submit(one)
    made["shared"] = drain(engine)
    counts = {"shared": dict(engine.counts())}
    ours = prepared[0].work
    made["alone"] = {}
    for picture, asks in list(pictures.values())[:8]:
        for one in asks:
            made["alone"] |= drain(engine, ask(engine, one, picture))
    picture, asks = pictures[32]
    seen = {"image": Image.fromarray(picture)}
    tokens = [engine._chats.usual.tokens(one.question) for one in asks]
    given = [{"prompt_token_ids": each, "multi_modal_data": seen} for each in tokens]
    theirs, *others = engine._engine.renderer.render_cmpl(given)
    with engine._pictures.processor() as processor:
        applied, apply = [], processor._processor.apply
        processor._processor.apply = lambda *given: applied.append(given) or apply(*given)
    engine.prepare(picture, asks)
    first, other = ours[0][1], ours[1][1]
    item, own = first["mm_kwargs"]["image"][0], theirs["mm_kwargs"]["image"][0]
    same = {
        "processed once": item is other["mm_kwargs"]["image"][0],
        "known by one name": first["mm_hashes"] == other["mm_hashes"],
        "vLLM's own tokens": first["prompt_token_ids"] == theirs["prompt_token_ids"],
        "vLLM's own tokens of other questions": len(others) == 2
        and [one[1]["prompt_token_ids"] for one in ours[1:]]
        == [one["prompt_token_ids"] for one in others],
        "rendered once": len(applied) == 1,
        "vLLM's own places": first["mm_placeholders"] == theirs["mm_placeholders"],
        "vLLM's own patches": set(item) == set(own)
        and all(torch.equal(item[name].data, own[name].data) for name in own),
    }

    asks = [
        Ask("plain", prompt, Sampling(64)),
        Ask("stop", prompt, Sampling(64, stop=(" ",))),
        Ask("least", prompt, Sampling(64, min_tokens=60)),
        Ask("told", prompt, Sampling(64), system="Be brief."),
        Ask("json", "What is it?", Sampling(64), schema=SCHEMA),
        Ask("no schema", "What is it?", Sampling(64), schema="{"),
        Ask("text", "A red ring.", Sampling(64), sees_picture=False),
    ]
    made["asks"] = drain(engine, ask(engine, *asks, image))
    engine.counts()
    asks = [Ask("text", "A red ring.", Sampling(64), sees_picture=False)]
    made["without"] = drain(engine, ask(engine, *asks, None))
    counts["text"] = dict(engine.counts())
    asks = [Ask("unseen", "What is it?", Sampling(64))]
    made["unseen"] = drain(engine, ask(engine, *asks, None))
    made["penalised"] = penalised(engine)
    thinker = EngineSettings(engine="vllm", model=FOLDERS.pop("thinker"), max_side=256)
    made["thinker"] = thoughts(load_engine(thinker))
    for name, folder in FOLDERS.items():
        made[name], made[name + " alone"], counts[name] = captioned("vllm", folder)
    out = {n: {k: dataclasses.asdict(m) for k, m in group.items()} for n, group in made.items()}
    print(json.dumps({"version": engine.version, "counts": counts, "same": same, **out}))

thread = threading.Thread(target=main)
thread.start()
thread.join()
sys.stdout.flush()
os._exit(0)  # the interpreter's own way out takes ten seconds
"""

# Prompts of some 80 tokens are read in several steps of 32.
DRAWN_SCRIPT = """
import json, os, sys
from nucleus_data.engines.captioner import EngineSettings
from nucleus_data.engines.load import load_engine
from tests.support.captioned import caption_all

arguments = {"max_num_batched_tokens": int(sys.argv[1])}
settings = EngineSettings(engine="vllm", max_side=256, max_in_flight=32, vllm_args=arguments)
made = caption_all(load_engine(settings), 8, 1.0)
print(json.dumps({key: one.text or one.error for key, one in made.items()}))
sys.stdout.flush()
os._exit(0)
"""


def drawn(most):
    """Captions drawn with a seed each, where a step reads so many tokens."""
    done = subprocess.run(
        [sys.executable, "-c", DRAWN_SCRIPT, str(most)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@needs_torch
@needs_vllm
@pytest.mark.slow
def test_a_seed_draws_the_same_from_a_prompt_that_is_read_in_pieces():
    whole, pieces = drawn(8192), drawn(32)
    same = [pieces[key] == text for key, text in whole.items()]
    assert len(same) == 16
    assert sum(same) >= 15  # sums in another order may change one


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Models of which the packaged one is none, by name."""
    makers = {"thinker": make_thinker, **families.MAKERS}
    made = {name: tmp_path_factory.mktemp(name) for name in makers}
    for name, make in makers.items():
        make(made[name])
    return made


@pytest.fixture(scope="module")
def made(folders):
    """What vLLM made, by the groups of the script."""
    done = subprocess.run(
        [sys.executable, "-c", VLLM_SCRIPT, json.dumps({k: str(v) for k, v in folders.items()})],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@needs_torch
@needs_vllm
@pytest.mark.slow
def test_vllm_agrees_with_transformers(made, transformers_engine):
    expected = caption_all(transformers_engine, 32)
    same = [made["greedy"][key]["text"] == expected[key].text for key in expected]
    assert sum(same) / len(same) >= 0.99
    tokens = [made["greedy"][key]["tokens"] == expected[key].tokens for key in expected]
    assert sum(tokens) / len(tokens) >= 0.95

    again = made["drawn again"]
    assert {k: v["text"] for k, v in again.items()} == {
        k: made["drawn"][k]["text"] for k in again
    }, "the same seeds in other company"

    assert made["odd"]["cut"]["finish_reason"] == "length"
    assert made["odd"]["refused"]["reason"] == made["odd"]["no room"]["reason"] == "too_long"
    assert "max_model_len" in made["odd"]["no room"]["error"]

    hostile = made["hostile"]
    assert hostile["fine"]["text"] == hostile["alone"]["text"]
    assert {key for key, found in hostile.items() if found["error"]} == {"205:1", "surrogate"}

    assert all(made["same"].values()), made["same"]
    counts = made["counts"]["shared"]
    assert counts["pictures"] == 24, "one vision encode for three captions"
    shared = made["shared"]
    assert len(shared) == 72
    alone = [shared[key]["text"] == one["text"] for key, one in made["alone"].items()]
    assert len(alone) == 24
    assert sum(alone) >= 23
    for name in ("tokens", "prompt_tokens"):
        assert counts[name] == sum(one[name] for one in shared.values())

    asks = made["asks"]
    assert asks["stop"]["text"] == asks["plain"]["text"].split(" ")[0]
    assert asks["stop"]["finish_reason"] == "stop"
    assert [name for name, one in asks.items() if one["at_stop"]] == ["stop"]
    assert asks["least"]["tokens"] >= 60 > asks["plain"]["tokens"]
    assert asks["told"]["prompt_tokens"] > asks["plain"]["prompt_tokens"]
    answer = json.loads(asks["json"]["text"])
    assert answer["kind"] in ("photo", "drawing")
    assert isinstance(answer["quiet"], bool)
    assert asks["no schema"]["error"]
    assert asks["text"]["prompt_tokens"] < asks["plain"]["prompt_tokens"]
    assert made["without"]["text"] == asks["text"]
    assert made["counts"]["text"]["prompt_tokens"] == asks["text"]["prompt_tokens"]
    assert "pictures" not in made["counts"]["text"]
    assert made["unseen"]["unseen"]["reason"] == "caption_refused"
    assert "none is there" in made["unseen"]["unseen"]["error"]


@needs_torch
@needs_vllm
@pytest.mark.slow
def test_penalties_and_top_p_are_those_of_transformers(made, transformers_engine):
    texts = {key: one["text"] for key, one in made["penalised"].items()}
    check_penalised(texts)
    others = penalised(transformers_engine)
    same = [others[key].text == text for key, text in texts.items() if "wide" not in key]
    assert sum(same) >= len(same) - 1


@needs_torch
@needs_vllm
@pytest.mark.slow
def test_thinking_is_turned_off_and_in_no_caption(made, transformers_engine):
    found = {key: SimpleNamespace(**one) for key, one in made["thinker"].items()}
    check_thoughts(found, thoughts(transformers_engine))


@needs_torch
@needs_vllm
@pytest.mark.slow
@pytest.mark.parametrize("name", families.MAKERS)
def test_other_families_share_an_encode_and_agree_with_transformers(made, folders, name):
    texts = {key: one["text"] for key, one in made[name].items()}
    assert made["counts"][name] == 3, "one vision encode for three captions"
    assert len(texts) == len(set(texts.values())) == 9, made[name]
    assert {key: one["text"] for key, one in made[f"{name} alone"].items()} == texts
    expected, _, _ = families.captioned("transformers", folders[name])
    # A last letter of which only some bytes were drawn is in transformers' text alone.
    same = [
        expected[key].text.rstrip("\ufffd") == text.rstrip("\ufffd") for key, text in texts.items()
    ]
    assert sum(same) >= 8
    for key, one in expected.items():
        assert one.prompt_tokens == made[name][key]["prompt_tokens"]
