"""Computes the held-out loss, with equal samples, captions, sigmas and noise in every run.

Sigmas are stratified: each sample gets one sigma in each of 8 equal bins. Low bins measure how well
the model learned the images, high bins the captions. `settings.choice` chooses the samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from nucleus_data.hashing import keyed_unit
from nucleus_model.data.latents import Latents
from nucleus_model.data.loader import TrainingSet
from nucleus_model.data.samples import Sample
from nucleus_model.encoders.text import TextEncoder
from nucleus_model.network.flow import draw_noise, flow_loss, grid_of
from nucleus_model.network.transformer import NucleusTransformer
from nucleus_model.settings.choice import HOLDOUT_SEED as SEED

BINS = 8


@dataclass(frozen=True, slots=True)
class HeldOutLoss:
    """The loss on held-out samples.

    Attributes:
        loss: Mean over samples and bins.
        bins: Mean over samples in each bin of sigma, from [0, 1/8) to [7/8, 1).
        samples: Number of samples.
    """

    loss: float
    bins: tuple[float, ...]
    samples: int


@dataclass(frozen=True)
class SampleLosses:
    """Losses of samples, once in each bin of sigma.

    Attributes:
        ids: Ids of the N samples that could be decoded.
        sigmas: Shares of noise, float64 (N, BINS), equal in every run.
        losses: Losses, float64 (N, BINS).
    """

    ids: tuple[str, ...]
    sigmas: torch.Tensor
    losses: torch.Tensor


def held_out_loss(
    model: NucleusTransformer,
    text: TextEncoder,
    latents: Latents,
    training_set: TrainingSet,
    samples: Sequence[Sample],
    batch_size: int,
) -> HeldOutLoss | None:
    """Measures the loss of samples, each with its best caption.

    Args:
        model: The transformer.
        text: The text encoder.
        latents: Provides latents of the training set's images.
        training_set: The training set.
        samples: The samples to measure.
        batch_size: Number of samples per forward pass.

    Returns:
        The loss; None if no sample can be decoded.
    """
    captions = {sample.id: best_caption(sample) for sample in samples}
    (measured,) = sample_losses(model, text, latents, training_set, samples, [captions], batch_size)
    if not measured.ids:
        return None
    table = measured.losses
    return HeldOutLoss(
        loss=table.mean().item(), bins=tuple(table.mean(dim=0).tolist()), samples=len(table)
    )


def best_caption(sample: Sample) -> str:
    """Returns a sample's caption of the highest quality, the last one; empty if it has none."""
    return sample.captions[-1] if sample.captions else ""


@torch.no_grad()
def sample_losses(
    model: NucleusTransformer,
    text: TextEncoder,
    latents: Latents,
    training_set: TrainingSet,
    samples: Sequence[Sample],
    captions: Sequence[Mapping[str, str]],
    batch_size: int,
) -> tuple[SampleLosses, ...]:
    """Measures the loss of each sample in each bin, with one or more choices of captions.

    Args:
        model: The transformer.
        text: The text encoder.
        latents: Provides latents of the training set's images.
        training_set: The training set.
        samples: The samples to measure.
        captions: One or more mappings from a sample's id to its caption.
        batch_size: Number of samples per forward pass.

    Returns:
        For each mapping, the losses of the samples that can be decoded, sorted by aspect bucket,
        and then in the order of `samples`.
    """
    ids: list[str] = []
    sigmas: list[torch.Tensor] = []
    losses: list[list[torch.Tensor]] = [[] for _ in captions]
    device = next(model.parameters()).device
    for bucket in sorted({sample.bucket for sample in samples}):
        members = [sample for sample in samples if sample.bucket == bucket]
        for start in range(0, len(members), batch_size):
            chosen = members[start : start + batch_size]
            batch = training_set.batch(chosen, [""] * len(chosen))
            if batch is None:
                continue
            latents_BCHW = latents.of(batch).to(device)
            grid = grid_of(latents_BCHW, model.config.patch_size)
            # Computed once for all bins, as keys and values do not depend on sigma.
            texts = [
                model.encode_text(*text.encode([of[ident] for ident in batch.ids]), grid)
                for of in captions
            ]
            columns: list[list[torch.Tensor]] = [[] for _ in captions]
            shares = []
            # Keyed by id and bin, never by the run's seed: so losses of different runs compare.
            for index in range(BINS):
                keys = [f"{ident}:{index}" for ident in batch.ids]
                units = [(index + keyed_unit("holdout-sigma", SEED, key)) / BINS for key in keys]
                shape = tuple(latents_BCHW.shape[1:])
                noise_BCHW = torch.stack([draw_noise(SEED, key, shape) for key in keys])
                sigma = torch.tensor(units, device=device)
                noise_BCHW = noise_BCHW.to(device)
                for column, text_kv in zip(columns, texts, strict=True):
                    column.append(flow_loss(model, latents_BCHW, noise_BCHW, sigma, text_kv).cpu())
                shares.append(sigma.cpu())
            ids.extend(batch.ids)
            sigmas.append(torch.stack(shares, dim=1))
            for parts, column in zip(losses, columns, strict=True):
                parts.append(torch.stack(column, dim=1))
    none = torch.empty(0, BINS)
    # In float64, so that the order of summation has almost no effect.
    every = torch.cat([none, *sigmas]).double()
    return tuple(
        SampleLosses(tuple(ids), every, torch.cat([none, *parts]).double()) for parts in losses
    )
