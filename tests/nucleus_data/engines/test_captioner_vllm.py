import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.captioned import HAS, caption_all, needs_torch

needs_vllm = pytest.mark.skipif(not HAS["vllm"], reason="vLLM is not installed")
# vLLM warns while it is imported and changes its process, so it has a process of its own; and in
# that a thread, as in an actor.
VLLM_SCRIPT = """
import dataclasses, json, os, sys, threading
from nucleus_data.engines.captioner import Ask, EngineSettings, Sampling
from nucleus_data.engines.load import load_engine
from tests.support.captioned import ask, caption_all, drain, hostile, requests

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
    out = {n: {k: dataclasses.asdict(m) for k, m in group.items()} for n, group in made.items()}
    print(json.dumps({"version": engine.version, **out}))

thread = threading.Thread(target=main)
thread.start()
thread.join()
sys.stdout.flush()
os._exit(0)  # the interpreter's own way out takes ten seconds
"""


@needs_torch
@needs_vllm
@pytest.mark.slow
def test_vllm_agrees_with_transformers(transformers_engine):
    done = subprocess.run(
        [sys.executable, "-c", VLLM_SCRIPT],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    made = json.loads(done.stdout.splitlines()[-1])

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
