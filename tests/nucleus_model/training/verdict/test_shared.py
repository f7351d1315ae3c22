"""A sweep's runs of the set that is there: taken over where they are the same training."""

from pathlib import Path

import pytest

from nucleus_model.settings import verdict as settings_module
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict import run as run_module
from nucleus_model.training.verdict.compare import compare
from nucleus_model.training.verdict.loops import one_by_one
from nucleus_model.training.verdict.plan import Arm, plan_comparison
from nucleus_model.training.verdict.shared import same_training, sharing
from tests.support.model import colored_items, write_set

SETTINGS = VerdictSettings(preset="debug", replicates=3, pictures=8)


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    """`all`, two that lack some of its pictures, and one that has others."""
    root = tmp_path_factory.mktemp("sets")
    items = colored_items(40)
    made = {
        "all": items,
        "less": items[4:],
        "least": items[10:],
        "other": items[6:] + colored_items(4, first=100),
        "reference": colored_items(10, first=200),
    }
    return {name: Arm(str(write_set(root / name, of)), name=name) for name, of in made.items()}


def planned(arms, b, settings=SETTINGS, clusters=None):
    return plan_comparison(arms["all"], arms[b], settings, arms["reference"], clusters)


@pytest.mark.slow
def test_sets_that_lack_pictures_leave_the_order_of_training_as_it_is(arms):
    less, least, other = (planned(arms, name) for name in ("less", "least", "other"))
    assert same_training(less, least, 0)
    assert not same_training(less, other, 0)
    again = planned(arms, "less", SETTINGS.model_copy(update={"preset": "nano"}))
    assert not same_training(less, again, 0)


@pytest.mark.slow
def test_another_draw_of_clusters_is_another_training(arms):
    settings = SETTINGS.model_copy(update={"claim": "recipes"})
    ids = planned(arms, "less").pictures.column("id").to_pylist()
    clusters = {ident: f"cluster {n // 5}" for n, ident in enumerate(ids)}
    alone, drawn = planned(arms, "less", settings), planned(arms, "less", settings, clusters)
    assert not same_training(alone, drawn, 0)
    assert same_training(drawn, planned(arms, "least", settings, clusters), 0)


@pytest.mark.slow
def test_runs_that_are_taken_over_change_no_bit_and_are_not_trained_again(
    arms, tmp_path, monkeypatch
):
    few = {**settings_module.FIXED["debug"], "steps": 2}
    monkeypatch.setitem(settings_module.FIXED, "debug", few)
    trained, train = [], run_module.quick_train

    def counted(folder, out, *given, **named):
        if not (Path(out) / "summary.json").exists():
            trained.append(Path(out).name)
        return train(folder, out, *given, **named)

    monkeypatch.setattr(run_module, "quick_train", counted)

    def compared(b, out, earlier=()):
        trained.clear()
        loop = sharing(one_by_one, [tmp_path / name for name in earlier])
        compare(
            arms["all"], arms[b], tmp_path / out, SETTINGS, reference=arms["reference"], loop=loop
        )
        return sorted(trained)

    every = [f"{arm}-{n:03d}" for arm in "ab" for n in range(3)]
    assert compared("less", "first") == every
    assert compared("least", "alone") == every
    assert compared("least", "shared", ["first"]) == every[3:]
    for name in ("verdict.json", "losses.parquet"):
        one, other = ((tmp_path / out / name).read_bytes() for out in ("alone", "shared"))
        assert one == other, name
