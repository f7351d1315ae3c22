"""`nucleus verdict`, `nucleus quick-train --against | --vary`: what they take, how they end."""

import json

import click
import pytest

from nucleus_data.commands import comparing
from nucleus_model.settings import verdict as settings_module
from nucleus_model.training.verdict.loops import one_by_one
from tests.support import compared
from tests.support.command import nucleus, work_here
from tests.support.model import write_sentence_encoder

DEBUG = ("--preset", "debug", "--seeds", "3")
VARY = ("--vary", "rules.wide=width > 150")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            ("--against", "x", "quick_train.steps=3"),
            "'quick_train.steps=3': in a comparison, the preset",
        ),
        (("--against", "x", "quick_train.seed=3"), "only their data differs; use --seeds instead"),
        ((*VARY, "quick_train.preset=nano"), "use --preset instead"),
        (("--vary", "quick_train.steps=3"), "--preset decides how both sides train"),
        (("--against", "x", *VARY), "cannot be used together: give one of them"),
        (("--against", "x", "--limit", "3"), "a comparison, which takes whole sets. Make smaller"),
        ((*VARY, "--sample", "10%"), "--limit and --sample cannot be used in a comparison"),
        (("--preset", "debug"), "--preset can only be used with --against or --vary"),
        (("--json",), "--json can only be used with --against"),
        (("--text", "x"), "--text can only be used with --against"),
        (
            (*VARY, "--text", "./none"),
            "--text: none is not a folder; allowed: nano, a folder or a",
        ),
        ((*VARY, "--text-revision", "x"), "--text-revision can only be used with --text MODEL"),
        ((*VARY, "--text-state", "-8"), "--text-state can only be used with --text MODEL"),
        (
            (*VARY, "--seeds", "6", "--most", "5"),
            "--most 5 is less than --seeds 6: raise --most or",
        ),
        ((*VARY, "--half-width", "nan"), "'nan' is not a finite number"),
        ((*VARY, "--text", "some/hub"), "--text-revision is required for the hub model 'some/hub'"),
    ],
)
def test_a_wrong_request_is_told_before_anything_starts(given, told):
    assert told in nucleus("quick-train", *given, code=2)


def test_a_verdict_of_two_recipes_refuses_the_training_s_keys_too():
    said = nucleus("verdict", "a", "b", "quick_train.lr=3", code=2)
    assert "'quick_train.lr=3': in a comparison, the preset decides how both sides train" in said
    comparing.check_overrides(["quick_train.edition=short", "rules.a=width < 3"])


@pytest.mark.parametrize(("word", "code"), [("worse", 3), ("mixed", 4)])
def test_a_side_that_is_worse_in_any_way_has_an_exit_code(word, code, tmp_path, capsys):
    content = {
        "sentence": "B is worse",
        "claim": "these two sets",
        "word": word,
        "findings": [],
        "reference": {"note": ""},
        "power": {"by_seeds": []},
        "pairs": True,
        "arms": {},
        "half_width": None,
        "preset": "debug",
    }
    with pytest.raises(click.exceptions.Exit) as ended:
        comparing.end(content, tmp_path, as_json=False)
    assert ended.value.exit_code == code
    assert "B is worse" in capsys.readouterr().out
    comparing.end({**content, "word": "better"}, tmp_path, as_json=True)
    assert json.loads(capsys.readouterr().out)["word"] == "better"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return compared.make(tmp_path_factory.mktemp("compared"))[0]


@pytest.fixture
def here(monkeypatch):
    """Runs of two steps, in this process."""
    work_here(monkeypatch)
    few = {**settings_module.FIXED["debug"], "steps": 2}
    monkeypatch.setitem(settings_module.FIXED, "debug", few)
    monkeypatch.setattr("nucleus_data.stages.train.replicates.RayRuns", lambda _: one_by_one)
    monkeypatch.setattr("nucleus_data.views.verdict.processes", lambda _: one_by_one)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_recipe_is_compared_with_itself_varied(corpus, tmp_path, here):
    settings = (f"corpus={corpus.uri}", *compared.SETTINGS)
    dry = nucleus("quick-train", *VARY, *DEBUG, "--dry-run", *settings)
    assert "its set (missing parts would be made by select, shard)" in dry
    assert "up to 6 debug runs; nothing was made or trained" in dry
    assert len(corpus.config_hashes("selection")) == 1
    out = tmp_path / "out"
    said = nucleus("quick-train", *VARY, *DEBUG, "--out", out, *settings)
    assert str(out / "verdict.html") in said
    found = json.loads((out / "verdict.json").read_text())
    assert "about these recipes, on random parts of this corpus (not on other corpora), on" in said
    assert found["claim"].startswith("these recipes, on random parts of this corpus")
    assert found["arms"]["b"]["name"].startswith("select.rules.wide=width > 150 (nano/")
    assert found["shared"]["b_only"] == 0
    assert found["shared"]["a_only"] > 10
    # Again: nothing is done anew, and nothing changes.
    before = (out / "verdict.json").read_bytes()
    nucleus("quick-train", *VARY, *DEBUG, "--out", out, *settings)
    assert (out / "verdict.json").read_bytes() == before
    nothing = ("--vary", "rules.none=width > 9000")
    said = nucleus("quick-train", *nothing, *DEBUG, "--out", out, *settings, code=2)
    assert "nothing to compare: " in said


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sweep_draws_quality_against_quantity(corpus, tmp_path, here):
    settings = (f"corpus={corpus.uri}", *compared.SETTINGS, "select.drop_duplicates=false")
    values = [f"rules.wide=width > {most}" for most in (9000, 150, 80)]
    vary = [part for value in values for part in ("--vary", value)]
    reference = compared.reference(tmp_path / "reference")
    options = (*DEBUG, "--out", tmp_path / "out", "--reference", reference)
    said = nucleus("quick-train", *vary[:4], *options, *settings)
    assert "of 2 values: 1 not told apart from it, 1 the same pictures as it has" in said
    found = json.loads((tmp_path / "out/sweep.json").read_text())
    same, half = found["values"]
    assert (same["same"], half["same"]) == (True, False)
    assert (same["kept"], half["kept"]) == (34, 19)
    assert half["a_runs"] == "own"
    assert (tmp_path / "out" / half["page"]).is_file()
    assert "records that are kept" in (tmp_path / "out/sweep.html").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_sets_of_a_corpus_are_named_and_compared(corpus, tmp_path, here):
    settings = (f"corpus={corpus.uri}", *compared.SETTINGS)
    every = compared.write_recipe(tmp_path / "every.yaml", select={"drop_duplicates": False})
    out = tmp_path / "out"
    said = nucleus(
        *("quick-train", "--against", every, *DEBUG, "--claim", "recipes", "--out", out),
        f"corpus={corpus.uri}",
        "--json",
        *compared.SETTINGS,
    )
    found = json.loads(said[said.index('{"') :].splitlines()[0])
    assert found["arms"]["a"]["name"].startswith("the recipe (nano/")
    assert found["shared"]["a_only"] == 0
    a, b = (found["arms"][arm]["name"].partition("/")[2].rstrip(")") for arm in "ab")
    words = write_sentence_encoder(tmp_path / "words")
    sides = (a[:8], f"nano/{b}", "--out", tmp_path / "sets", "--text", words)
    nucleus("verdict", *sides, *DEBUG, *settings)
    again = json.loads((tmp_path / "sets/verdict.json").read_text())
    assert again["claim"] == "these two sets, on these held-out pictures"
    assert again["shared"] == found["shared"]
    assert (found["text"]["name"], found["text"]["hidden_state"]) == ("nano", 0)
    assert (again["text"]["name"], again["text"]["hidden_state"]) == ("words", -1)
    assert again["values"]["a"]["loss"] != found["values"]["a"]["loss"]
    said = nucleus("verdict", a, "@none", *DEBUG, *settings, code=2)
    assert "has no caption edition 'none'; available: " in said
