import pytest
import torch

from nucleus_model.data.latents import Latents
from nucleus_model.data.loader import TrainingSet
from nucleus_model.encoders.codec import SpaceToDepth
from nucleus_model.training.holdout import BINS, held_out_loss
from tests.support.model import awake_model, colored_items, write_set


class FixedText:
    def encode(self, prompts):
        return torch.ones(len(prompts), 8, 32), torch.ones(len(prompts), 8, dtype=torch.bool)


@pytest.fixture
def found(tmp_path):
    return TrainingSet(str(write_set(tmp_path, colored_items(60))))


def measure(found, samples, batch_size=16):
    model = awake_model(latent_channels=48)
    return held_out_loss(model, FixedText(), Latents(SpaceToDepth(4)), found, samples, batch_size)


@pytest.mark.slow
def test_the_loss_is_the_same_each_time_and_in_other_batches(found):
    samples = found.samples[:6]
    first = measure(found, samples)
    assert first == measure(found, samples)
    other = measure(found, samples, batch_size=4)
    assert other.loss == pytest.approx(first.loss, rel=1e-5)
    assert len(first.bins) == BINS
    assert sum(first.bins) / BINS == pytest.approx(first.loss)
    assert first.samples == 6


def test_sigmas_fill_their_bins(found, monkeypatch):
    seen = []

    def loss(model, latents, noise, sigma, text):
        seen.append(sigma)
        return sigma

    monkeypatch.setattr("nucleus_model.training.holdout.flow_loss", loss)
    result = measure(found, found.samples[:6])
    for index, sigma in enumerate(seen):
        assert ((sigma >= index / BINS) & (sigma < (index + 1) / BINS)).all()
        assert sigma.unique().numel() == 6
    assert result.bins == tuple(sorted(result.bins))


def test_nothing_held_out_is_no_figure(found):
    assert measure(found, []) is None
