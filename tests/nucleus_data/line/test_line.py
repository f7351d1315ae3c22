"""The whole line from end to end, on the demo's world with its known faults."""

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.world import scene
from nucleus_data.world.caption_scoring import CaptionScore, score_caption
from tests.support.commands import REPOSITORY, environment, nucleus
from tests.support.selecting import states_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

FAST = ("quick_train.steps=4", "quick_train.sample_steps=2", "quick_train.threads=1")
# What becomes of each planted fault. Copies may survive their original, so they are not here.
EXPECTED = {
    "truncated": "failed",
    "html": "failed",
    "mislabelled": "rejected",
    "blank": "rejected",
    "tiny": "rejected",
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    # As the README's first command.
    command = [REPOSITORY / "scripts/quickstart", f"--out={out}", "--images=120", *FAST]
    subprocess.run(command, env=environment(), check=True, timeout=900)
    return out


def test_the_demo_finds_what_was_planted(demo):
    corpus = Corpus(str(demo / "corpus"))
    truth = {row["file"]: row for row in pq.read_table(demo / "truth.parquet").to_pylist()}
    joined = corpus.table("records").join(
        corpus.table("selection").project("shard, row, state, reasons"), "shard, row"
    )
    states = dict(joined.project("key, state").fetchall())
    assert states.keys() == truth.keys()
    found: dict[str, Counter] = {}
    for name, line in truth.items():
        found.setdefault(line["fault"], Counter())[states[name]] += 1
    print({fault: dict(counts) for fault, counts in found.items()})
    for fault, state in EXPECTED.items():
        assert set(found[fault]) == {state}, fault
    clean = found["none"]
    assert clean["kept"] >= 0.85 * sum(clean.values())
    for name, line in truth.items():
        if line["fault"] == "exact_copy":
            pair = {states[name], states[line["original"]]}
            assert pair == {"kept", "duplicate"} or "kept" not in pair


def test_scores_reject_what_only_a_model_can_see(demo):
    """In the world that the nano models know, by the rules of the demo's configuration."""
    corpus = Corpus(str(demo / "corpus"))
    truth = {row["file"]: row for row in pq.read_table(demo / "truth.parquet").to_pylist()}
    joined = corpus.table("records").join(
        corpus.table("selection").project("shard, row, state, reasons"), "shard, row"
    )
    found = {row[0]: row[1:] for row in joined.project("key, state, reasons").fetchall()}
    planted = {"unsafe": "unsafe", "watermarked": "overlaid_text", "dense_text": "overlaid_text"}
    seen: dict[str, Counter] = {}
    clean: list[bool] = []
    for name, line in truth.items():
        reasons = set(found[name][1] or [])
        rule = planted.get(line["fault"])
        if rule and line["strength"] != "low":
            seen.setdefault(rule, Counter())[rule in reasons] += 1
        if line["fault"] == "none":
            clean.append(bool(reasons & {"unsafe", "overlaid_text"}))
            if "unpleasant" in reasons:
                assert line["pleasantness"] < 5.5
    print(seen, sum(clean), "of", len(clean))
    assert sum(clean) <= 0.02 * len(clean)
    assert seen.keys() == set(planted.values())
    assert all(counts[True] >= 0.9 * sum(counts.values()) for counts in seen.values())


def test_captions_come_from_vllm_with_all_they_need_to_be_traced(demo):
    corpus = Corpus(str(demo / "corpus"))
    kept = states_of(corpus)["kept"]
    for variant in ("short", "long"):
        table = corpus.table(f"caption.{variant}")
        rows = table.filter("error IS NULL").project(
            "caption, source, model, prompt, engine, finish_reason, seed, attempt"
        )
        rows = rows.fetchall()
        assert len(rows) >= 0.95 * kept
        assert {row[1:5] for row in rows} == {("synthesized", "nano", f"{variant}@1", "vllm")}
        assert {row[5] for row in rows} <= {"stop", "length"}
        # The first attempt is greedy; those after it are drawn, each with a seed of its own.
        assert all((row[6] is None) == (row[7] == 0) for row in rows)
        assert len({row[0] for row in rows}) > 0.5 * len(rows)


def test_the_captions_of_the_demo_are_true(demo):
    corpus = Corpus(str(demo / "corpus"))
    keys = dict(corpus.table("records").project("id, key").fetchall())
    truth = {row["file"]: row for row in pq.read_table(demo / "truth.parquet").to_pylist()}
    score = CaptionScore()
    for record, text in corpus.table("caption.short").project("id, caption").fetchall():
        line = truth[keys[record]]
        if line["fault"] == "none":
            facts = json.loads(line["scene"])
            score += score_caption(text, scene(facts["seed"], facts["index"], "core"), "short")
    print(score)
    assert score.captions > 40
    assert score.right >= 0.97 * score.told
    assert score.asked_told >= 0.95 * score.asked


def test_the_page_opens_in_a_browser_and_adds_up(demo, tmp_path):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs chromium")
    (page,) = demo.glob("corpus/runs/*/report.html")
    common = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        f"--user-data-dir={tmp_path}/profile",
        "--window-size=1200,2400",
    ]
    picture = tmp_path / "page.png"
    dom = subprocess.run(
        [*common, f"--screenshot={picture}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    assert picture.stat().st_size > 50_000
    assert not re.search(r"(src|href)=[\"'](https?:)?//", dom)
    assert "<script" not in dom
    assert "120" in dom
    assert "mean nothing" in dom


def test_a_second_run_does_nothing_twice(demo):
    log = demo / "log.txt"
    before = {p: p.stat().st_mtime_ns for p in (demo / "corpus/tables").rglob("*.parquet")}
    said = nucleus("demo", f"--out={demo}", "--images=120", *FAST, log=log)
    assert "120 already in the corpus, 0 new" in said
    assert "the tars already exist" in said
    assert re.search(r"the edition [0-9a-f]{16} already exists", said)
    after = {p: p.stat().st_mtime_ns for p in (demo / "corpus/tables").rglob("*.parquet")}
    assert after == before
