"""What one replicate says of its training set: losses on reference pictures, picture by picture.

    table = measure(model, text, latents, reference, samples, 32, asked(captions))
    values = replicate_values(table, own=trained, other=unseen)   # the six of `judge.MEASURES`

The reference is one set for both arms: a set's own held-out pictures are as easy as the set is, and
no yardstick. Each picture is met in eight bins of sigma with noise that is keyed by its id, with
its true caption, with another picture's, and with none.
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
    """Losses of one model on reference pictures.

    Attributes:
        ids: (N,) of the pictures.
        sigmas: (N, BINS) shares of noise.
        true: (N, BINS) losses with the pictures' own captions.
        shuffled: (N, BINS) with another picture's.
        empty: (N, BINS) without a caption.
    """

    ids: tuple[str, ...]
    sigmas: Numbers
    true: Numbers
    shuffled: Numbers
    empty: Numbers

    def to_arrow(self) -> pa.Table:
        """A row a picture and bin: id, bin, sigma, true, shuffled, empty."""
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
    """For each picture another one's caption, which differs from its own where one does.

    It is that of the next picture in an order by hash, which is the same for every model.

    Args:
        captions: Each picture's own, by id.
    """
    ordered = sorted(captions, key=lambda i: (keyed_uint64("shuffled", HOLDOUT_SEED, i), i))
    texts = [captions[ident] for ident in ordered]
    found = {}
    for place, ident in enumerate(ordered):
        following = texts[place + 1 :] + texts[:place]
        own = texts[place]
        found[ident] = next((text for text in following if text and text != own), own)
    return found


def asked(captions: Mapping[str, str], *, only_true: bool = False) -> dict[str, Mapping[str, str]]:
    """What pictures are measured with: their own captions, others', and none.

    Args:
        captions: Each picture's own, by id, of all pictures that are measured.
        only_true: Whether their own are enough.
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
    """Measures a model on pictures.

    Args:
        model: The transformer.
        text: The text encoder.
        latents: Of the set's images.
        training_set: The set that the pictures are of.
        samples: Which of its samples.
        batch_size: Samples at once.
        captions: As `asked` says; what is not asked is NaN.

    Raises:
        ValueError: None of them can be decoded.
    """
    every = sample_losses(
        model, text, latents, training_set, samples, list(captions.values()), batch_size
    )
    found = dict(zip(captions, every, strict=True))
    true = found["true"]
    if not true.ids:
        raise ValueError(f"{training_set.store.uri}: none of {len(samples)} pictures is decodable")
    nothing = np.full(true.losses.shape, np.nan)
    shuffled, empty = (
        found[name].losses.numpy() if name in found else nothing for name in ("shuffled", "empty")
    )
    return LossTable(true.ids, true.sigmas.numpy(), true.losses.numpy(), shuffled, empty)


def joined(tables: Sequence[LossTable]) -> LossTable:
    """Tables of different pictures as one."""
    return LossTable(
        tuple(ident for table in tables for ident in table.ids),
        *(
            np.concatenate([getattr(table, name) for table in tables])
            for name in ("sigmas", "true", "shuffled", "empty")
        ),
    )


def replicate_values(table: LossTable, own: Numbers, other: Numbers) -> Mapping[str, float]:
    """The six confirmatory measures of one replicate.

    Args:
        table: On the reference.
        own: (M, BINS) losses of pictures that were trained on.
        other: (N, BINS) of pictures of the same kinds that were not.
    """
    return {
        "loss": float(table.true.mean()),
        "low_sigma": float(table.true[table.sigmas < LOW].mean()),
        "high_sigma": float(table.true[table.sigmas > HIGH].mean()),
        "caption_gap": float(table.shuffled.mean() - table.true.mean()),
        "empty_gap": float(table.empty.mean() - table.true.mean()),
        "memorised": float(own.mean() - other.mean()),
    }
