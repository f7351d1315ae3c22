import json

import pytest

from nucleus_data.errors import RequestError
from nucleus_data.line.counting import CountTask
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.stages.encode.latents import LatentTask
from tests.support import curated
from tests.support.stepped import BARE, curate, stage_lines, three_shards


@pytest.fixture
def corpus(tmp_path):
    return three_shards(tmp_path / "c")


def test_runs_of_one_moment_have_names_of_their_own(corpus):
    names = [curated.run(corpus.uri, "inspect").name for _ in range(20)]
    assert len(set(names)) == 20
    assert corpus.runs() == sorted(names)


@pytest.mark.slow
def test_a_run_pins_what_it_used(corpus):
    made, states = curate(corpus, "storage_options={auto_mkdir: true}")
    assert states["kept"] == 6
    made.do("shard")
    plan = json.loads(corpus.store.read(made.path("plan.json")))
    assert plan["run"] == made.name
    assert plan["command"] == "curate"
    assert plan["tables"] == made.tables
    assert plan["tables"]["inspect.file"] == made.recipe.pins().tables["inspect.file"]
    assert {"dedup", "selection"} < set(plan["tables"])
    assert plan["set"] == made.training_set
    assert plan["config"] == json.loads(json.dumps(made.recipe.public()))
    assert plan["config"]["storage_options"] == ["auto_mkdir"]
    assert (plan["limit"], plan["sample"]) == (None, 1.0)
    lines = stage_lines(made)
    assert [line["stage"] for line in lines] == ["inspect", "dedup", "select", "shard"]
    assert [(line["rows"], line["done"], line["already"]) for line in lines] == [(6, 6, 0)] * 4


@pytest.mark.slow
def test_a_limit_is_over_all_shards_and_so_is_what_follows(corpus):
    made, states = curate(corpus, limit=3)
    assert made.lines[0]["rows"] == 3
    assert states == {"kept": 3, "rejected": 0, "duplicate": 0, "failed": 0, "pending": 0}
    rows = curated.table(corpus, "selection", made.tables["selection"])
    assert [(row["shard"], row["row"]) for row in rows] == [(0, 0), (0, 1), (1, 0)]
    made.do("shard")
    assert made.lines[-1]["done"] == 3
    curated.run(corpus.uri, "look", BARE, dry_run=True, limit=3).use_selection()
    with pytest.raises(RequestError, match="no selection"):
        curated.run(corpus.uri, "look", BARE, dry_run=True).use_selection()
    limited = curated.run(corpus.uri, "caption", BARE, limit=3)
    limited.use_selection()
    job = limited.job("caption")
    assert [job.open(shard).summary.rows for shard in range(3)] == [2, 1, 0]


@pytest.mark.slow
def test_a_limited_selection_after_a_whole_inspection(corpus):
    curate(corpus)
    made = curated.run(corpus.uri, "select", BARE, limit=1)
    made.do("dedup")
    assert made.select()["kept"] == 1
    assert made.failures == []


def test_a_sample_takes_the_same_records_in_every_stage(corpus):
    made, states = curate(corpus, sample=0.5)
    rows = curated.table(corpus, "selection", made.tables["selection"])
    assert 0 < len(rows) == made.lines[0]["rows"] == sum(states.values()) < 6
    again, _ = curate(corpus, sample=0.5)
    assert [line["already"] for line in again.lines if line["stage"] != "dedup"] == [len(rows)] * 2


@pytest.mark.parametrize(
    ("work", "gpus"), [(CountTask("", {}, "t", "h"), 0), (LatentTask, 1), (None, 1)]
)
def test_what_has_no_model_is_given_no_gpu(corpus, work, gpus):
    """Counting and copying for `caption` must not wait for an engine's GPU."""
    asked = []

    def loop(name, work, resources, size):
        asked.append(resources)
        return InlineLoop(name, work, resources, size)

    made = curated.run(
        corpus.uri, "caption", "resources.caption={num_gpus: 1, actors: 2, num_cpus: 3}", loop=loop
    )
    stage = made.stages["caption"]
    made.run.loop(stage, made.job("caption") if work is None else work, [], 0, keep=False)
    assert [(one.num_gpus, one.actors, one.num_cpus) for one in asked] == [(gpus, 2 * gpus, 3)]
