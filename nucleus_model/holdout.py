"""The held-out loss: the same samples, captions, sigmas and noise at every step and in every run.

Sigmas are stratified: each sample is met once in each of 8 equal bins. Low bins measure the images,
high bins the captions. A sample is held out by a hash of its id, so it is held out of every set
that contains it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from nucleus_data.hashing import keyed_uint64, keyed_unit
from nucleus_model.codec import Codec
from nucleus_model.flow import draw_noise, flow_loss
from nucleus_model.loader import Sample, TrainingSet
from nucleus_model.text import TextEncoder

if TYPE_CHECKING:
    from diffusers.models.transformers.transformer_nucleusmoe_image import (
        NucleusMoEImageTransformer2DModel,
    )

BINS = 8
SEED = 0  # never the run's seed: runs must meet the same noise


@dataclass(frozen=True, slots=True)
class HeldOutLoss:
    """The loss on held-out samples.

    Attributes:
        loss: Mean over samples and bins.
        bins: Mean over samples in each bin of sigma, from [0, 1/8) to [7/8, 1).
        samples: How many were measured.
    """

    loss: float
    bins: tuple[float, ...]
    samples: int


def split_holdout(
    samples: Sequence[Sample], share: float, limit: int
) -> tuple[list[Sample], list[Sample]]:
    """Samples to train on, and those held out, in an order that depends on ids alone.

    Args:
        samples: All of them.
        share: Share to hold out, by a hash of each id; the real share of a small set differs.
        limit: How many of the held-out samples are measured; the rest is neither trained on nor
            measured.

    Returns:
        Training samples, and the measured held-out ones.
    """
    held = [item for item in samples if keyed_unit("holdout", SEED, item.id) < share]
    ids = {item.id for item in held}
    measured = sorted(held, key=lambda item: (keyed_uint64("holdout", SEED, item.id), item.id))
    return [item for item in samples if item.id not in ids], measured[:limit]


@torch.no_grad()
def held_out_loss(
    model: "NucleusMoEImageTransformer2DModel",
    text: TextEncoder,
    codec: Codec,
    training_set: TrainingSet,
    samples: Sequence[Sample],
    batch_size: int,
) -> HeldOutLoss | None:
    """Measures the samples, each with its best caption. None if none can be measured."""
    losses: list[torch.Tensor] = []
    device = next(model.parameters()).device
    for bucket in sorted({sample.bucket for sample in samples}):
        members = [sample for sample in samples if sample.bucket == bucket]
        for start in range(0, len(members), batch_size):
            chosen = members[start : start + batch_size]
            captions = [item.captions[-1] if item.captions else "" for item in chosen]
            batch = training_set.batch(chosen, captions)
            if batch is None:
                continue
            latents_BCHW = codec.encode(torch.from_numpy(batch.images)).to(device)
            text_BLD, mask_BL = text.encode(batch.captions)
            columns = []
            for index in range(BINS):
                keys = [f"{sample.id}:{index}" for sample in batch.samples]
                sigmas = [(index + keyed_unit("holdout-sigma", SEED, key)) / BINS for key in keys]
                shape = tuple(latents_BCHW.shape[1:])
                noise_BCHW = torch.stack([draw_noise(SEED, key, shape) for key in keys])
                columns.append(
                    flow_loss(
                        model,
                        latents_BCHW,
                        noise_BCHW.to(device),
                        torch.tensor(sigmas, device=device),
                        text_BLD,
                        mask_BL,
                    ).cpu()
                )
            losses.append(torch.stack(columns, dim=1))
    if not losses:
        return None
    table = torch.cat(losses).double()  # (samples, bins)
    return HeldOutLoss(
        loss=table.mean().item(), bins=tuple(table.mean(dim=0).tolist()), samples=len(table)
    )
