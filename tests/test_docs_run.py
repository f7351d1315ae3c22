"""Every command of README and docs runs, but for those that need a cluster, or long."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys

import pytest

from tests.support.commands import REPOSITORY, environment
from tests.support.docs import block, run_block, shell_blocks
from tests.support.worlds import write_pictures

OWN, SELECT, TRAIN = "ingest.source=my-pictures", "nucleus select", "python -m nucleus_model"
FIT = "nucleus fit-curriculum"
WORLD = "nucleus world world"
CALIBRATE = "nucleus calibrate"
# What other tests run: a text of the block, and where.
ELSEWHERE = {
    "scripts/quickstart": "tests/nucleus_data/line/test_line.py",
    "scripts/get_stamps": "tests/nucleus_data/line/test_real_pictures.py",
}


def test_every_block_is_run_or_says_why_not():
    for doc, mark, code in shell_blocks():
        assert mark in ("", "cluster", "long"), (doc, mark)
        if not mark:
            texts = (OWN, SELECT, FIT, TRAIN, WORLD, CALIBRATE, *ELSEWHERE)
            run = [text for text in texts if text in code]
            assert len(run) == 1, (doc, code)
    for text, file in ELSEWHERE.items():
        assert text in (REPOSITORY / file).read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_own_pictures_their_rule_their_table_and_their_model(tmp_path):
    write_pictures(tmp_path / "my-pictures", 40, seed=7)
    said = run_block(block(OWN), tmp_path)
    assert "ingest: 40 rows, 40 done" in said
    assert "report.html" in said
    assert "select: 40 records = " in run_block(block(SELECT), tmp_path)
    assert "kept by curriculum bucket: " in run_block(block(FIT), tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
    with contextlib.chdir(tmp_path), contextlib.redirect_stdout(io.StringIO()) as shown:
        exec(compile(code, "README.md", "exec"), {})
    assert "laplacian_variance" in shown.getvalue()
    (made,) = (tmp_path / "my-corpus").glob("sets/*/*")
    code = block(TRAIN).replace("SET", str(made)).replace("steps=2000", "steps=4")
    run_block(code.replace("OUT", "out"), tmp_path)
    assert list((tmp_path / "out/checkpoints").iterdir())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_calibrating_and_a_head_on_ratings(tmp_path):
    truth = write_pictures(tmp_path / "my-pictures", 160, seed=7)
    run_block("nucleus ingest corpus=my-corpus ingest.source=my-pictures", tmp_path)
    run_block("nucleus curate corpus=my-corpus", tmp_path)
    rows = [f"{entry.file},{len(entry.file) + number % 7}" for number, entry in enumerate(truth)]
    (tmp_path / "ratings.csv").write_text("\n".join(["key,rating", *rows]))
    said = run_block(block(CALIBRATE), tmp_path)
    assert "use it with score.calibration.main=calibration.json" in said
    assert "160 rows, " in said
    assert "use it with score.heads=heads and, in a rule, taste" in said
    assert "## taste" in (tmp_path / "heads/README.md").read_text()


@pytest.mark.slow
def test_a_world_and_its_server(tmp_path):
    write, serve = block(WORLD).strip().splitlines()
    run_block(write, tmp_path)
    assert len(list((tmp_path / "world").rglob("*.*"))) >= 12
    words = serve.split("#")[0].split()[1:]
    served = subprocess.Popen(
        [sys.executable, "-m", "nucleus_data.commands", *words, "--images", "12"],
        cwd=tmp_path,
        env={**environment(), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert served.stdout is not None
    for line in served.stdout:
        if "http://127.0.0.1" in line:
            break
    else:
        pytest.fail("it did not say where it serves")
    os.kill(served.pid, signal.SIGINT)
    served.stdout.close()
    served.wait(timeout=30)
