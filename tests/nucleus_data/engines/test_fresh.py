"""Asks that no cache answers, as truth tests ask them."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from nucleus_data.engines.captioner import Ask, Sampling
from nucleus_data.engines.server_chat import request
from nucleus_data.stages.caption.prompts import PROMPTS

FRESH = Ask("probe/alone/0/1/short/0", PROMPTS["short"], Sampling(max_tokens=64), fresh=True)


def test_a_server_of_vllm_is_given_other_names_for_its_caches():
    asked = request(FRESH, FRESH.question, "data:", {}, "0.20.1")
    picture, text = asked["messages"][0]["content"]
    assert picture["uuid"] == asked["extra_body"]["cache_salt"] == "probe:alone:0:1:short:0"
    assert text == {"type": "text", "text": FRESH.question}


def test_other_servers_and_other_asks_have_none():
    for ask, version in ((FRESH, ""), (replace(FRESH, fresh=False), "0.20.1")):
        asked = request(ask, ask.question, "data:", {}, version)
        assert "uuid" not in asked["messages"][0]["content"][0]
        assert "cache_salt" not in asked.get("extra_body", {})


# vLLM changes its process, so it has one of its own.
VLLM_SCRIPT = """
import json
from dataclasses import replace

import numpy as np

from nucleus_data.engines.captioner import EngineSettings
from nucleus_data.engines.load import load_engine
from nucleus_data.world import render, scene
from tests.nucleus_data.engines.test_fresh import FRESH
from tests.support.captioned import HELD_OUT

engine = load_engine(EngineSettings(engine="vllm"))
picture = np.asarray(render(scene(HELD_OUT, 1), 128, 96))
encoded, texts = [], set()
for number, fresh in enumerate((False, False, True, True)):
    ask = replace(FRESH, key=f"0/{number}", fresh=fresh)
    engine.submit(engine.prepare(picture, [ask]))
    while engine.pending():
        texts |= {made.text for made in engine.step()}
    encoded.append(engine.counts().get("pictures", 0))
print(json.dumps([encoded, sorted(texts)]))
"""


@pytest.mark.slow
def test_vllm_encodes_a_fresh_ask_s_picture_anew():
    pytest.importorskip("vllm")
    run = subprocess.run(
        [sys.executable, "-c", VLLM_SCRIPT], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    encoded, texts = json.loads(run.stdout.splitlines()[-1])
    assert encoded == [1, 0, 1, 1]
    assert len(texts) == 1
