import pytest

import nucleus_data
from nucleus_data.errors import RequestError
from nucleus_data.line.lines import LINES, RETRIED, run_line
from nucleus_data.line.recipe import STAGE_NAMES, STAGES, load_recipe
from nucleus_data.signals import SignalGroup
from nucleus_data.stage import RowStage
from nucleus_data.stages.select.stage import published_selection
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture


def test_every_stage_is_a_line_and_every_line_of_stages():
    assert {name.replace("_", "-") for name in STAGE_NAMES} <= set(LINES)
    for name, line in LINES.items():
        assert set(line.steps) <= set(STAGE_NAMES), name
        assert line.help.endswith("."), name
    assert LINES["all"].steps[0] == "ingest"
    assert set(LINES["all"].steps) == set(STAGE_NAMES)


def test_the_stages_of_a_line_are_in_the_recipe_s_order_but_for_a_second_selection():
    for name, line in LINES.items():
        places = [STAGE_NAMES.index(name) for name in line.steps]
        if "embed" in line.steps:
            places.remove(STAGE_NAMES.index("select"))
            again = line.steps.index("score") + 1
            assert line.steps[again] == "select"  # by the scores
            places = [STAGE_NAMES.index(n) for i, n in enumerate(line.steps) if i != again]
        if name != "score":  # which ends with a selection by its scores
            assert places == sorted(places)


def test_captions_are_retried_before_what_would_end_their_selection():
    assert tuple(s.name for s in reversed(STAGES) if s.retried) == RETRIED
    assert RETRIED.index("caption") < RETRIED.index("inspect") < RETRIED.index("ingest")


def test_a_line_from_python_works_in_this_process(tmp_path):
    made = small_corpus(tmp_path / "c", shards=0)
    write_shard(made, 0, {"a.png": picture(1), "b.png": picture(2)})
    recipe = curated.recipe(made.uri, "select.rules={}")
    said = []
    counted = run_line(recipe, ["inspect", "dedup"], dry_run=True, say=said.append)
    assert counted.name == ""
    assert said == [
        "inspect: 2 rows, 0 already done, 2 to do",
        "dedup: not counted (depends on earlier stages)",
    ]
    run = run_line(recipe, ["inspect", "dedup", "select"], inline=True, say=said.append)
    assert run.command == "inspect-dedup-select"
    assert run.failed_shards == 0
    assert published_selection(made.store, run.tables["selection"])["states"]["kept"] == 2
    limited = run_line(recipe, "inspect", limit=1, inline=True, say=said.append)
    assert limited.folder.stages[0]["rows"] == 1


def test_what_cannot_be_run_is_refused(tmp_path):
    recipe = curated.recipe(tmp_path / "c")
    with pytest.raises(RequestError, match="no line 'curat'; available: ingest, inspect"):
        run_line(recipe, "curat")
    with pytest.raises(RequestError, match="quick_train needs Ray"):
        run_line(recipe, "all", inline=True)
    with pytest.raises(RequestError, match="no corpus at"):
        run_line(recipe, "curate", inline=True)


def test_the_face_of_the_package():
    assert nucleus_data.run_line is run_line
    assert nucleus_data.load_recipe is load_recipe
    assert (nucleus_data.RowStage, nucleus_data.SignalGroup) == (RowStage, SignalGroup)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        nucleus_data.nothing  # noqa: B018
