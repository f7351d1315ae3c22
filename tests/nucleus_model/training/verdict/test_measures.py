"""What a replicate says, on a small set and a model that is not trained."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nucleus_model.data.latents import Latents
from nucleus_model.data.loader import TrainingSet
from nucleus_model.encoders.codec import SpaceToDepth
from nucleus_model.training.holdout import held_out_loss
from nucleus_model.training.verdict.judge import NAMES
from nucleus_model.training.verdict.measures import (
    LossTable,
    asked,
    measure,
    other_captions,
    replicate_values,
)
from tests.support.model import awake_model, colored_items, write_set


class LengthText:
    """Text states that depend on the caption, as a real encoder's do."""

    def encode(self, prompts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        states = [torch.full((8, 32), 0.1 * len(prompt)) for prompt in prompts]
        return torch.stack(states), torch.ones(len(prompts), 8, dtype=torch.bool)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    folder: Path = tmp_path_factory.mktemp("set")
    return TrainingSet(str(write_set(folder, colored_items(60))))


@pytest.fixture(scope="module")
def table(found: TrainingSet) -> LossTable:
    model = awake_model(latent_channels=48)
    samples = found.samples[:12]
    captions = asked({sample.id: sample.captions[-1] for sample in samples})
    latents = Latents(SpaceToDepth(4))
    return measure(model, LengthText(), latents, found, samples, 5, captions)


@pytest.mark.slow
def test_true_captions_give_the_held_out_loss(found: TrainingSet, table: LossTable) -> None:
    model = awake_model(latent_channels=48)
    latents = Latents(SpaceToDepth(4))
    loss = held_out_loss(model, LengthText(), latents, found, found.samples[:12], 16)
    assert loss is not None
    values = replicate_values(table, table.true, table.true)
    assert values["loss"] == pytest.approx(loss.loss, rel=1e-5)
    assert tuple(values) == NAMES


@pytest.mark.slow
def test_thirds_are_of_sigma_and_captions_are_changed(table: LossTable) -> None:
    values = replicate_values(table, table.true[:3], table.true)
    low = [x for x, s in zip(table.true.ravel(), table.sigmas.ravel(), strict=True) if s < 1 / 3]
    assert values["low_sigma"] == pytest.approx(np.mean(low))
    assert values["memorised"] == pytest.approx(table.true[:3].mean() - table.true.mean())
    assert not np.array_equal(table.empty, table.true)


def test_nobody_keeps_its_caption_if_there_is_another(found: TrainingSet) -> None:
    own = {sample.id: sample.captions[-1] for sample in found.samples}
    others = other_captions(own)
    assert all(others[key] != own[key] for key in own)
    assert others == other_captions(dict(reversed(own.items())))


def test_every_loss_is_kept(table: LossTable) -> None:
    rows = table.to_arrow()
    assert rows.column_names == ["id", "bin", "sigma", "true", "shuffled", "empty"]
    assert rows.num_rows == 12 * 8
    assert rows["true"].to_numpy().reshape(12, 8).tolist() == table.true.tolist()
