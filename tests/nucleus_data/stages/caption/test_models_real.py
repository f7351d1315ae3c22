"""Two real models in one worker: the nano captioner, and one that reads texts alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nucleus_data.engines.test_captioner_vllm import needs_torch, needs_vllm
from tests.support.captions.text_model import write_text_model

SCRIPT = """
import json, os, sys, threading

def main():
    from nucleus_data.engines.captioner import Ask, Sampling
    from nucleus_data.stages.caption.settings import CaptionSettings
    from nucleus_data.stages.caption.stage import Caption
    from tests.nucleus_data.stages.caption.test_models import CHAIN
    from tests.nucleus_data.stages.caption.test_stage import encoded
    from nucleus_data.stage import Row

    engine, folder = sys.argv[1:]
    settings = {"engine": engine, "max_in_flight": 8, "max_model_len": 512, "probes": 4}
    off = {name: {"action": "off"} for name in CaptionSettings().checks.__class__.model_fields}
    settings |= {"checks": off, "variants": CHAIN, "models": {"writer": {"model": folder}}}
    made = Caption(CaptionSettings(**settings))
    made.setup()
    wanted = frozenset(f"caption.{name}" for name in CHAIN)
    rows = [
        Row(0, n, f"{n:032x}", "a.png", encoded(n, size=(64, 48)), {}, wanted) for n in range(12)
    ]
    found = {one.row.row: one.values for one in made.process(iter(rows))}
    counts = dict(made.counted())
    # What the nano captioner itself says of these texts without a picture.
    nano = made._models[0].engine
    asks = [
        Ask(str(n), values["caption.brief"]["question"], Sampling(256), sees_picture=False)
        for n, values in found.items()
    ]
    nano.submit(nano.prepare(None, asks))
    same = {}
    while nano.pending():
        for one in nano.step():
            same[one.key] = one.text == found[int(one.key)]["caption.brief"]["caption"]
    print(json.dumps({"found": found, "counts": counts, "same": same}))

thread = threading.Thread(target=main)
thread.start()
thread.join()
sys.stdout.flush()
os._exit(0)  # the interpreter's own way out takes ten seconds
"""


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["transformers", pytest.param("vllm", marks=needs_vllm)])
def test_a_picture_s_caption_goes_on_to_a_text_model(tmp_path, engine):
    folder = write_text_model(tmp_path / "words")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, engine, str(folder)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[4],
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "warning" not in done.stderr.lower()
    assert "Triton" not in done.stderr
    made = json.loads(done.stdout.splitlines()[-1])
    assert sorted(map(int, made["found"])) == list(range(12))
    for values in made["found"].values():
        brief, long = values["caption.brief"], values["caption.long"]
        assert (long["model"], brief["model"], brief["parent"]) == ("nano", "words", "long")
        assert brief["question"] == f"Shorten: {long['caption']}"
        assert brief["revision"] != long["revision"]
        assert (brief["image_sha256"], long["engine"]) == (None, engine)
    assert sum(made["same"].values()) >= 11, "the same words, by a model that has no eyes"
    counts = made["counts"]
    assert counts["truth_probes"] == counts["truth_same"] + counts.get("truth_swapped", 0)
    assert {"busy_ms:caption", "busy_ms:caption.models.writer"} <= counts.keys()
