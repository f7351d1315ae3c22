"""That the nano transformer learns what captions say, in small; the whole is `bench_learning`."""

import pytest

from nucleus_data.line.recipe import load_recipe
from nucleus_data.stages.train.stage import Train
from nucleus_data.world.prompts import read_prompts
from scripts.bench_learning import QUICK, RECIPE, bench, trained

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_it_draws_what_captions_say(tmp_path):
    """350 steps: enough to draw more of what was asked for than chance has, not to draw well."""
    settings = load_recipe(RECIPE, [f"corpus={tmp_path}"]).section(Train)
    settings = settings.model_copy(update={"steps": 350, "sample_every": 0})
    learned = trained(tmp_path / "true", 1500, settings, read_prompts()[:80])
    print(learned)
    assert learned.score.images == 80
    assert learned.score.right_share >= 0.1
    assert learned.chance.right_share <= 0.05
    assert (tmp_path / "true.png").stat().st_size > 0


def test_both_kinds_of_captions_are_trained_on(tmp_path):
    rows = {row.name: row.value for row in bench(tmp_path, QUICK)}
    print(rows)
    for kind in ("true", "shuffled"):
        assert rows[f"{kind} captions: prompts"] == QUICK.prompts
        assert 0 < rows[f"{kind} captions: loss at the end"] < 3
    texts = [
        {file.stem: file.read_text() for file in (tmp_path / kind / "pictures").glob("*.txt")}
        for kind in ("true", "shuffled")
    ]
    assert texts[0].keys() == texts[1].keys()
    assert all(texts[0][stem] != texts[1][stem] for stem in texts[0])
    assert (tmp_path / "found.json").stat().st_size > 0
