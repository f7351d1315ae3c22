"""`nucleus fit-curriculum`, and how `nucleus explain` tells a bucket."""

import json
from pathlib import Path

import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.stages.select.fit import load_fit
from nucleus_data.stages.select.fitting import FitTask
from nucleus_data.views.status import status
from tests.support import curated
from tests.support.command import nucleus
from tests.support.curricula import SCORED, buckets, fit, people, placed_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """300 records in two shards; `fit.json` beside it is fitted on them."""
    folder = tmp_path_factory.mktemp("fit")
    found = list(people(300).items())
    made = placed_corpus(folder / "c", dict(found[:200]), dict(found[200:]))
    fit(made, folder / "fit.json")
    return made


def beside(corpus, name):
    return f"{corpus.uri}/../{name}"


@pytest.mark.slow
def test_the_command_fits_and_changes_no_table(corpus, tmp_path):
    before = {t: Corpus(corpus.uri).config_hashes(t) for t in corpus.store.list("tables")}
    file = tmp_path / "again.json"
    said = nucleus("fit-curriculum", file, f"corpus={corpus.uri}", *SCORED)
    assert load_fit(str(file)) == load_fit(beside(corpus, "fit.json"))
    known = load_fit(str(file))
    lines = said.splitlines()
    assert f"fitted on {known.records} kept records of selection" in said
    assert (
        f"  {300 - known.records} more have no tier or no size, so they will have no bucket"
        in lines
    )
    assert f"use it with select.curriculum.fitted={file}" in lines
    assert lines[-1] == str(file)
    assert {t: corpus.config_hashes(t) for t in corpus.store.list("tables")} == before
    run = corpus.runs()[-1]
    assert not corpus.store.list(f"runs/{run}/_fit")
    printed = nucleus("fit-curriculum", "--json", file, f"corpus={corpus.uri}", *SCORED)
    content = json.loads(printed.splitlines()[-1])
    assert sum(content["expected"].values()) == pytest.approx(known.records)


@pytest.mark.slow
def test_the_constants_know_no_groups_of_shards(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("nucleus_data.stages.select.plan.SHARDS_A_TASK", 1)
    fit(corpus, tmp_path / "fit.json")
    assert (tmp_path / "fit.json").read_bytes() == Path(beside(corpus, "fit.json")).read_bytes()


def test_a_shard_that_fails_leaves_no_file(corpus, tmp_path, monkeypatch):
    def broken(task, number):
        raise OSError("the store is away")

    monkeypatch.setattr(FitTask, "run", broken)
    # Where Ray runs already it would do the work, and know nothing of this.
    monkeypatch.setattr("nucleus_data.views.curriculum.is_initialized", lambda: False)
    file = tmp_path / "fit.json"
    said = nucleus("fit-curriculum", file, f"corpus={corpus.uri}", *SCORED, code=1)
    assert "the store is away" in said
    assert not file.exists()


@pytest.mark.slow
def test_it_fits_again_where_the_curriculum_is_set(corpus, tmp_path):
    made = placed_corpus(tmp_path / "c", people(50, seed=4))
    given = f"select.curriculum.fitted={beside(corpus, 'fit.json')}"
    buckets(made, *SCORED, given)  # there is a selection with buckets alone
    file = tmp_path / "own.json"
    said = nucleus("fit-curriculum", file, f"corpus={made.uri}", *SCORED, given)
    assert "fitted on" in said
    assert load_fit(str(file)).mean != load_fit(beside(corpus, "fit.json")).mean


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["select.tiers.score=null"], "select.curriculum needs quality tiers"),
        (["rules.more=width < 5"], "to fit on; run: nucleus select"),
        (["select.curriculum.size=widht"], "reads 'widht', which is not in any table"),
    ],
)
def test_what_can_t_be_fitted_is_told(corpus, tmp_path, changed, said):
    file = tmp_path / "fit.json"
    found = nucleus("fit-curriculum", file, f"corpus={corpus.uri}", *SCORED, *changed, code=2)
    assert said in found
    assert not file.exists()


@pytest.mark.slow
def test_explain_says_place_and_chances(corpus):
    overrides = (*SCORED, f"select.curriculum.fitted={beside(corpus, 'fit.json')}")
    _, rows = buckets(corpus, *overrides)
    key, row = next((k, r) for k, r in rows.items() if r["tier"] == "A3")
    told = json.loads(nucleus("explain", "--json", key, f"corpus={corpus.uri}", *overrides))
    assert told["state"]["curriculum"] == row["curriculum"]
    about = told["curriculum bucket"]
    assert (about["bucket"], about["tier"]) == (row["curriculum"], "A3")
    known = load_fit(beside(corpus, "fit.json"))
    z = (0.6 * 0.5 + 0.4 * about["size rank"] - known.mean) / known.deviation
    assert about["place"] == pytest.approx(z)
    assert sum(p for name, p in about.items() if name.startswith("chance")) == pytest.approx(1)
    said = nucleus("explain", key, f"corpus={corpus.uri}", *overrides)
    assert "chance of B8" in said
    # By another configuration the record has no bucket.
    other = json.loads(nucleus("explain", "--json", key, f"corpus={corpus.uri}", *SCORED))
    assert "curriculum bucket" not in other


def test_a_run_of_it_is_not_the_last_that_worked(corpus):
    made = curated.run(corpus.uri, "status", *SCORED, dry_run=True)
    assert "fit-curriculum" not in status(made.run, made.stages)["last_run"]["run"]
