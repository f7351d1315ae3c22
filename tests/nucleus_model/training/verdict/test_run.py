"""A run of a comparison: what ran before it in its process changes no byte of it."""

import pytest

from nucleus_data.views import verdict as view
from nucleus_model.data.kept import Kept
from nucleus_model.settings import verdict as settings_module
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.plan import Arm, plan_comparison
from nucleus_model.training.verdict.run import GRIDS, RunSpec, do_run, write_plan
from tests.support.model import Item, colored_items, write_set


def test_the_page_shows_no_grid_that_is_not_drawn():
    assert view.GRIDS <= GRIDS


@pytest.mark.slow
def test_what_a_process_keeps_changes_no_byte(tmp_path, monkeypatch):
    fixed = settings_module.FIXED
    monkeypatch.setitem(fixed, "debug", {**fixed["debug"], "steps": 4})
    # One that can't be decoded is told by each run that meets it, and by no other.
    broken = Item(90, image=b"nothing that is a picture")
    long = Item(91, captions=["word " * 400])
    items = [*colored_items(40), broken, long]
    arms = [Arm(str(write_set(tmp_path / n, of))) for n, of in (("a", items), ("b", items[8:]))]
    reference = Arm(str(write_set(tmp_path / "r", colored_items(6, first=200))))
    planned = plan_comparison(
        *arms, VerdictSettings(preset="debug", replicates=3, pictures=8), reference
    )
    kept = Kept()
    for name in ("fresh", "kept"):
        write_plan(planned, tmp_path / name)
    specs = [(arm, number) for number in (0, GRIDS) for arm in "ab"]
    for arm, number in specs:
        do_run(RunSpec(str(tmp_path / "fresh"), arm, number))
        do_run(RunSpec(str(tmp_path / "kept"), arm, number), kept)
    for arm, number in specs:
        one, other = (RunSpec(str(tmp_path / n), arm, number).folder for n in ("fresh", "kept"))
        for file in ("losses.parquet", "summary.json", "metrics.jsonl"):
            assert (one / file).read_bytes() == (other / file).read_bytes(), (arm, number, file)
        assert (other / "samples.png").exists() == (number < GRIDS)
    assert '"captions_cut": 1' in (one / "summary.json").read_text()
