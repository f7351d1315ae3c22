"""Evaluates a trained model: its losses on reference pictures, picture by picture.

    table = measure(model, text, latents, reference, samples, 32, asked(captions))
    values = replicate_values(table, own=trained, other=unseen)   # the six of `judge.MEASURES`

Both arms use the same reference, since pictures held out of one set alone are as easy as that set.
Each picture is evaluated in eight bins of sigma, with noise keyed by its id: with its true caption,
with another picture's caption, and without one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from nucleus_data.hashing import keyed_uint64
from nucleus_model.data.latents import Latents
from nucleus_model.data.loader import TrainingSet
from nucleus_model.data.samples import Sample
from nucleus_model.encoders.text import TextEncoder
from nucleus_model.network.transformer import NucleusTransformer
from nucleus_model.settings.choice import HOLDOUT_SEED
from nucleus_model.training.holdout import sample_losses
from nucleus_model.training.verdict.intervals import Numbers

LOW, HIGH = 1 / 3, 2 / 3


@dataclass(frozen=True)
class LossTable:
    """Losses of one model on N pictures.

    Attributes:
        ids: The N ids.
        sigmas: (N, BINS) noise levels, from 0 to 1.
        true: (N, BINS) losses with the pictures' own captions.
        shuffled: (N, BINS) losses with other pictures' captions.
        empty: (N, BINS) losses without captions.
    """

    ids: tuple[str, ...]
    sigmas: Numbers
    true: Numbers
    shuffled: Numbers
    empty: Numbers

    def to_arrow(self) -> pa.Table:
        """Returns one row per picture and bin: id, bin, sigma, true, shuffled, empty."""
        count, bins = self.true.shape
        columns = {name: getattr(self, name) for name in ("sigmas", "true", "shuffled", "empty")}
        return pa.table(
            {
                "id": pa.array(np.repeat(np.array(self.ids, dtype=object), bins), pa.string()),
                "bin": pa.array(np.tile(np.arange(bins, dtype=np.int8), count)),
                **{name.rstrip("s"): pa.array(value.ravel()) for name, value in columns.items()},
            }
        )


def other_captions(captions: Mapping[str, str]) -> dict[str, str]:
    """Assigns each picture the caption of another one, different from its own if possible.

    It is that of the next picture in a keyed order, which is the same for every model.

    Args:
        captions: Each picture's own caption, by id.
    """
    ordered = sorted(captions, key=lambda i: (keyed_uint64("shuffled", HOLDOUT_SEED, i), i))
    texts = [captions[ident] for ident in ordered]
    assigned = {}
    for place, ident in enumerate(ordered):
        following = texts[place + 1 :] + texts[:place]
        own = texts[place]
        assigned[ident] = next((text for text in following if text and text != own), own)
    return assigned


def asked(captions: Mapping[str, str], *, only_true: bool = False) -> dict[str, Mapping[str, str]]:
    """Returns the captions to evaluate with: `true`, `shuffled` and `empty`, each by id.

    Args:
        captions: The own captions of all evaluated pictures, by id.
        only_true: Whether to return their own captions only.
    """
    if only_true:
        return {"true": captions}
    return {
        "true": captions,
        "shuffled": other_captions(captions),
        "empty": dict.fromkeys(captions, ""),
    }


def measure(
    model: NucleusTransformer,
    text: TextEncoder,
    latents: Latents,
    training_set: TrainingSet,
    samples: Sequence[Sample],
    batch_size: int,
    captions: Mapping[str, Mapping[str, str]],
) -> LossTable:
    """Evaluates a model on pictures.

    Args:
        model: The transformer.
        text: The text encoder.
        latents: Latents of the set's images.
        training_set: The set that the pictures belong to.
        samples: The samples to evaluate on.
        batch_size: Samples per batch.
        captions: The captions from `asked`; losses for missing kinds are NaN.

    Raises:
        ValueError: None of the pictures can be decoded.
    """
    every = sample_losses(
        model, text, latents, training_set, samples, list(captions.values()), batch_size
    )
    by_kind = dict(zip(captions, every, strict=True))
    true = by_kind["true"]
    if not true.ids:
        raise ValueError(
            f"{training_set.store.uri}: none of the {len(samples)} pictures can be decoded"
        )
    nothing = np.full(true.losses.shape, np.nan)
    shuffled, empty = (
        by_kind[name].losses.numpy() if name in by_kind else nothing
        for name in ("shuffled", "empty")
    )
    return LossTable(true.ids, true.sigmas.numpy(), true.losses.numpy(), shuffled, empty)


def joined(tables: Sequence[LossTable]) -> LossTable:
    """Concatenates tables of different pictures."""
    return LossTable(
        tuple(ident for table in tables for ident in table.ids),
        *(
            np.concatenate([getattr(table, name) for table in tables])
            for name in ("sigmas", "true", "shuffled", "empty")
        ),
    )


def replicate_values(table: LossTable, own: Numbers, other: Numbers) -> Mapping[str, float]:
    """Computes the six confirmatory measures of one replicate.

    Args:
        table: Losses on the reference.
        own: (M, BINS) losses on pictures that were trained on.
        other: (N, BINS) losses on similar pictures that were not.
    """
    return {
        "loss": float(table.true.mean()),
        "low_sigma": float(table.true[table.sigmas < LOW].mean()),
        "high_sigma": float(table.true[table.sigmas > HIGH].mean()),
        "caption_gap": float(table.shuffled.mean() - table.true.mean()),
        "empty_gap": float(table.empty.mean() - table.true.mean()),
        "memorised": float(own.mean() - other.mean()),
    }
