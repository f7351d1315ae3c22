import json
from dataclasses import replace

import numpy as np
import pytest

from nucleus_model.data.loader import TrainingSet
from nucleus_model.data.phase_data import PhaseData
from nucleus_model.sampling.pictures import read_parameters
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.training import previews
from nucleus_model.training.previews import draw_previews
from tests.support.model import Item, colored_items, write_set


@pytest.fixture
def data(tmp_path):
    items = [*colored_items(3, (32, 32)), *colored_items(4, (48, 16), 3), Item(7, (32, 32), [])]
    found = TrainingSet(str(write_set(tmp_path / "set", items, resolution=32)))
    return PhaseData(found, None, list(found.samples[:6]), list(found.samples[6:]))


@pytest.fixture
def asked(monkeypatch):
    """What the sampler is asked for."""
    seen = []

    def sample_grid(model, text, codec, prompts, seeds, **options):
        seen.append((tuple(prompts), options))
        return np.zeros(
            (len(prompts), len(seeds), options["height"], options["width"], 3), np.uint8
        )

    monkeypatch.setattr(previews, "sample_grid", sample_grid)
    return seen


def test_captions_held_out_come_first_in_the_fullest_bucket(data, asked):
    settings = QuickTrainSettings(sample_rows=3, sample_steps=5, guidance=2.0)
    found = draw_previews(None, None, None, data, settings)
    held_out = [sample.captions[-1] for sample in data.held_out if sample.captions]
    assert found.prompts[: len(held_out)] == tuple(held_out)
    assert len(found.prompts) == 3
    assert asked == [(found.prompts, {"width": 48, "height": 16, "steps": 5, "guidance": 2.0})]


def test_prompts_of_the_settings_are_drawn_as_they_are(data, asked, tmp_path):
    settings = QuickTrainSettings(sample_prompts=("x", "y"), sample_seeds=(4,))
    found = draw_previews(None, None, None, data, settings)
    found.write(tmp_path)
    record = json.loads((tmp_path / "samples.json").read_text())
    assert (record["rows"], record["columns"], record["steps"]) == (["x", "y"], [4], 20)
    found.write_sheet(tmp_path / "samples" / "000004.png", 4)
    sheet = read_parameters(tmp_path / "samples" / "000004.png")
    assert sheet == {"step": 4, "rows": ["x", "y"], "columns": [4]}


def test_a_set_without_captions_has_the_empty_prompt(data, asked):
    bare = PhaseData(data.set, None, [], [replace(s, captions=()) for s in data.held_out])
    assert draw_previews(None, None, None, bare, QuickTrainSettings()).prompts == ("",)
