"""The command on a real local Ray."""

import pytest

from nucleus_data.corpus.tar_names import tar_name
from nucleus_data.line import steps
from nucleus_data.views import compare
from tests.support.command import nucleus
from tests.support.curated import NANO
from tests.support.worlds import write_pictures

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


@pytest.fixture
def ingested(tmp_path):
    write_pictures(tmp_path / "pictures", 60, 1)
    source = f"ingest.source={tmp_path / 'pictures'}"
    nucleus("ingest", f"corpus={tmp_path / 'corpus'}", source, "ingest.images_per_shard=25")
    return tmp_path / "corpus"


def test_a_limit_and_a_sample_choose_fewer(ingested):
    corpus = f"corpus={ingested}"
    assert "inspect: 7 rows, 7 done" in nucleus("inspect", "--limit", 7, corpus)
    said = nucleus("inspect", "--sample", "50%", corpus)
    rows = int(said.split("inspect: ")[-1].split(" rows")[0])
    assert 15 <= rows <= 45
    assert f"inspect: {rows:,} rows, {rows:,} already done" in nucleus(
        "inspect", "--sample", 0.5, corpus
    )
    for option in (("--limit", 0), ("--sample", "0%"), ("--sample", "101%"), ("--sample", "x")):
        assert "Invalid value" in nucleus("inspect", *option, corpus, code=2)


def test_a_shard_that_fails_ends_with_1_and_the_rest_is_done(ingested):
    corpus = f"corpus={ingested}"
    tar = (ingested / tar_name(1)).read_bytes()
    (ingested / tar_name(1)).write_bytes(tar[:2000])  # cut in the middle
    said = nucleus("inspect", corpus, code=1)
    assert "1 SHARDS FAILED" in said
    assert "shard 000001 failed: CorpusError: " in said
    assert "images/000001.tar changed: it has 2000 bytes" in said
    assert "1 shards failed; everything else is done" in said
    (ingested / tar_name(1)).write_bytes(tar)
    said = nucleus("retry", "inspect", corpus)
    assert "inspect: 25 rows, 25 done" in said or "inspect: 25 rows, 2" in said
    assert "inspect: nothing to retry" in nucleus("retry", corpus)


def test_a_worker_tells_commands_with_the_configuration(ingested, tmp_path):
    config = tmp_path / "my own.yaml"
    config.write_text(f"base: {NANO}\n")
    (part,) = (ingested / "tables/records").glob("*/000001-0.parquet")
    part.write_bytes(part.read_bytes()[:100])
    asked = ["--config", config, "rules.a=width < 3"]
    said = nucleus("inspect", f"corpus={ingested}", *asked, code=1)
    told = f"nucleus ingest corpus={ingested} --config '{config}' rules.a='width < 3'"
    assert said.count(told) == 1


def test_where_ray_runs_it_does_a_what_if(ingested, monkeypatch):
    corpus = f"corpus={ingested}"
    nucleus("curate", corpus, "embed.model=null")
    asked = ("what-if", "rules.too_small=least(width, height) < 120", corpus, "embed.model=null")
    done = []
    run = steps.RayLoop.run

    def counted(loop, items, total=None):
        done.append(loop.name)
        return run(loop, items, total)

    monkeypatch.setattr(steps.RayLoop, "run", counted)
    on_ray = nucleus(*asked)
    assert done
    done.clear()
    monkeypatch.setattr(compare, "is_initialized", lambda: False)
    here = nucleus(*asked)
    assert not done
    states = [[line for line in said.splitlines() if "->" in line] for said in (on_ray, here)]
    assert states[0] == states[1] != []
