"""Two small sets compared, from sets to sentence, killed and by several workers."""

import json
import re
from itertools import product

import numpy as np
import pytest

from nucleus_data.errors import RequestError
from nucleus_model.data.draws import as_bytes
from nucleus_model.data.joint import joint_epoch
from nucleus_model.settings import verdict as settings_module
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.train import quick_train
from nucleus_model.training.verdict import run as run_module
from nucleus_model.training.verdict.compare import compare
from nucleus_model.training.verdict.judge import NAMES
from nucleus_model.training.verdict.loops import one_by_one, processes
from nucleus_model.training.verdict.plan import Arm
from nucleus_model.training.verdict.run import do_run, read_plan
from tests.support.model import colored_items, write_set

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SETTINGS = VerdictSettings(preset="debug", replicates=3, pictures=8)


class Stopped(Exception):
    """A comparison is stopped."""


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    items = colored_items(48) + colored_items(16, (96, 48), 48)
    made = {"a": items, "b": items[8:], "reference": colored_items(12, first=200)}
    return {name: Arm(str(write_set(root / name, of)), name=name) for name, of in made.items()}


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setitem(
        settings_module.FIXED, "debug", {**settings_module.FIXED["debug"], "steps": 2}
    )


def compared(arms, out, loop=one_by_one, settings=SETTINGS):
    return compare(arms["a"], arms["b"], out, settings, reference=arms["reference"], loop=loop)


def test_a_comparison_that_was_killed_five_times_goes_on_to_the_same_bytes(
    arms, tmp_path, monkeypatch
):
    found = compared(arms, tmp_path / "whole")
    assert [finding["measure"]["name"] for finding in found["findings"]] == list(NAMES)
    assert found["replicates"] == [3, 3]
    assert found["pairs"]
    # Of 64 pictures, 8 of them A's alone, some are held out of both.
    counts = found["shared"]
    assert 45 <= counts["both"] < 56
    assert 4 <= counts["a_only"] <= 8
    assert counts["b_only"] == 0
    # 6 runs of 2 steps of 16 pictures of 64 tokens; a bucket's last batch has fewer.
    ending = r"; only 3 seeds \(6 are advised\), ([\d,]+) image tokens$"
    tokens = re.search(ending, found["sentence"])[1]
    assert 0 < int(tokens.replace(",", "")) <= 6 * 2 * 16 * 64
    assert found["image_tokens"] == pytest.approx(int(tokens.replace(",", "")) / 6, rel=0.1)
    assert found["power"]["by_seeds"]
    assert found["groups_hidden"]["caption kind"] == 1  # 8 pictures are no group
    assert [row["pictures"] for row in found["at_tokens"]["loss"]] == [16, 16]
    assert found["routers"]
    assert found["objects"] == []  # too few to know whether the checker knows them

    def stopping(specs):
        for number, spec in enumerate(specs):
            if number == 1:
                raise Stopped
            do_run(spec)
            yield spec

    def trained_alone(*arguments, **options):
        quick_train(*arguments, **options)
        raise Stopped

    out = tmp_path / "killed"
    for kill in range(5):
        with monkeypatch.context() as patch:
            # Between two runs, and between the training of a run and its measuring.
            if kill % 2:
                patch.setattr(run_module, "quick_train", trained_alone)
            with pytest.raises(Stopped):
                compared(arms, out, stopping)
    whole, killed = (tmp_path / name for name in ("whole", "killed"))
    compared(arms, killed)
    for name in ("verdict.json", "losses.parquet", "pictures.parquet"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    assert json.loads((whole / "verdict.json").read_text()) == json.loads(json.dumps(found))
    text = (whole / "verdict.json").read_text()
    assert "seconds" not in text  # what it took is beside
    sessions = json.loads((whole / "timings.json").read_text())["sessions"]
    assert [session["runs"] for session in sessions] == [6]


def test_image_tokens_are_those_of_the_pictures_trained_on(arms, tmp_path, monkeypatch):
    monkeypatch.setitem(
        settings_module.FIXED, "debug", {**settings_module.FIXED["debug"], "steps": 6}
    )
    wide = colored_items(40) + colored_items(40, (96, 48), 40)
    sets = {"a": wide, "b": colored_items(40)}
    made = {name: Arm(str(write_set(tmp_path / name, of))) for name, of in sets.items()}
    found = compared({**arms, **made}, tmp_path / "out")
    plan = read_plan(tmp_path / "out")
    real = dict.fromkeys("ab", 0)
    for replicate, arm in product(range(3), "ab"):
        own = {
            row["id"]: (row["width"], row["height"])
            for row in plan.pictures.to_pylist()
            if row[arm]
        }
        ids, sizes = as_bytes(sorted(own)), np.array([own[name] for name in sorted(own)])
        order = plan.order(replicate)
        epoch = joint_epoch(order, ids, sizes, batch_size=16, seed=replicate, epoch=0)
        assert len(epoch) >= 6
        taken = sizes[epoch.numbers[: epoch.ends[5]]]
        real[arm] += int(taken.prod(axis=1).sum()) // 8**2  # a token has 8 x 8 pixels
    # B has no wide pictures, so that its square ones fill their slots.
    assert real["a"] > real["b"]
    for arm in "ab":
        assert found["arms"][arm]["image_tokens"] == round(real[arm] / 3)
    assert found["image_tokens"] == round(sum(real.values()) / 6)
    words = f"{sum(real.values()):,} image tokens ({real['a']:,} in A, {real['b']:,} in B)"
    assert found["sentence"].endswith(words)
    assert found["curves"]["loss"]["tokens"][-1] == found["image_tokens"]


def test_another_comparison_is_not_mixed_in(arms, tmp_path):
    with pytest.raises(Stopped):
        compared(arms, tmp_path, _stop)
    with pytest.raises(RequestError, match=r"holds another comparison \(another set A"):
        compare(arms["b"], arms["a"], tmp_path, SETTINGS, reference=arms["reference"])
    with pytest.raises(RequestError, match="give another folder"):
        compared(arms, tmp_path, settings=SETTINGS.model_copy(update={"pictures": 7}))


def test_people_are_told_before_the_runs(arms, tmp_path):
    told = []
    with pytest.raises(Stopped):
        compare(
            arms["a"],
            arms["b"],
            tmp_path,
            SETTINGS,
            reference=arms["reference"],
            loop=_stop,
            tell=told.append,
            workers=1,
        )
    assert told[0].startswith("3 seeds of debug can detect differences of ")
    assert told[1].startswith("6 runs will take ")
    foreseen = json.loads((tmp_path / "timings.json").read_text())["forecast"]
    assert foreseen["processor_seconds"] > 0


def _stop(specs):
    raise Stopped
    yield


def test_more_replicates_by_the_pilot_alone(arms, tmp_path):
    done = []

    def counting(specs):
        for spec in specs:
            done.append((spec.arm, spec.replicate))
            do_run(spec)
            yield spec

    settings = SETTINGS.model_copy(update={"half_width": 1e-9, "most": 4})
    found = compared(arms, tmp_path, counting, settings)
    assert found["replicates"] == [4, 4]
    assert sorted(done) == [(arm, n) for arm in "ab" for n in range(4)]
    # As wide as was asked for where the budget allows, at the level that it is told at.
    loss = found["findings"][0]["interval"]
    wide = SETTINGS.model_copy(
        update={"half_width": 1.001 * (loss["high"] - loss["low"]) / 2, "most": 9}
    )
    again = compared(arms, tmp_path, counting, wide)
    assert again["replicates"] == [4, 4]
    assert len(done) == 8
    # The pilot's two degrees of freedom, whatever came after it.
    degrees = {f["measure"]["name"]: f["interval"]["degrees"] for f in found["findings"]}
    assert degrees.pop("memorised") >= 2  # and those of the choice of pictures
    assert set(degrees.values()) == {2.0}


def test_workers_change_no_bit(arms, tmp_path, monkeypatch):
    # Spawned processes have the module's own presets.
    monkeypatch.undo()
    settings = VerdictSettings(preset="debug", replicates=3, pictures=8)
    compared(arms, tmp_path / "one", one_by_one, settings)
    compared(arms, tmp_path / "two", processes(2), settings)
    names = ("verdict.json", "losses.parquet")
    assert all(
        (tmp_path / "one" / n).read_bytes() == (tmp_path / "two" / n).read_bytes() for n in names
    )
