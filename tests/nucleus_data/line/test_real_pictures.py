"""The whole line from end to end, on real pictures, as the docs say it."""

import json
import shutil

import pytest

from nucleus_data.corpus import Corpus
from tests.support.docs import block, run_block
from tests.support.selecting import states_of


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_real_pictures_are_all_accounted_for(tmp_path):
    if shutil.which("apt-get") is None:
        pytest.skip("scripts/get_stamps needs Debian's apt-get")
    stamps = tmp_path / "stamps"
    fetch, line = block("scripts/get_stamps stamps").strip().splitlines()
    run_block(fetch, tmp_path, seconds=900)
    files = sorted(stamps.rglob("*.png"))
    assert len(files) > 750
    kept = files[1::4]  # they show as much as all, in a quarter of the time
    for file in sorted({*files} - {*kept}):
        file.unlink()
        file.with_suffix(".txt").unlink(missing_ok=True)
    said = run_block(line, tmp_path, seconds=900)
    pictures = sorted(file.relative_to(stamps).as_posix() for file in kept)
    corpus_path = tmp_path / "stamps-corpus"
    assert f"ingest: {len(pictures):,} rows" in said
    corpus = Corpus(str(corpus_path))
    keys = [key for (key,) in corpus.table("records").project("key").order("key").fetchall()]
    assert keys == pictures
    captions = corpus.table("records").filter('"source.caption" IS NOT NULL')
    assert captions.count("*").fetchall()[0][0] > 0.75 * len(pictures)
    states = states_of(corpus)
    print(states)
    assert sum(states.values()) == len(pictures)
    assert states.get("failed", 0) == 0
    assert states["kept"] > 0.8 * len(pictures)
    (stages,) = corpus_path.glob("runs/*/stages.jsonl")
    lines = [json.loads(line) for line in stages.read_text().splitlines()]
    assert [line["failed_shards"] for line in lines] == [0] * len(lines)
    assert [line["worker_deaths"] for line in lines] == [0] * len(lines)
    (manifest,) = corpus_path.glob("sets/*/*/manifest.parquet")
    samples = corpus.connection().read_parquet(str(manifest)).aggregate("sum(samples)").fetchall()
    (left_out,) = corpus_path.glob("sets/*/*/left_out.parquet")
    lost = corpus.connection().read_parquet(str(left_out)).aggregate("reason, count(*) AS n")
    reasons = dict(lost.fetchall())
    print(reasons)
    assert samples[0][0] + sum(reasons.values()) == states["kept"]
    assert samples[0][0] > 0.8 * states["kept"]
