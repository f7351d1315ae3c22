"""Finds samples with a caption, and draws the caption for an epoch. Does not import torch."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.hashing import keyed_unit
from nucleus_model.settings.phases import caption_weight


def draw_name(epoch: int, turn: int = 0) -> str:
    """Returns the key with which a sample's caption, noise and sigma are drawn.

    Args:
        epoch: The epoch, from 0.
        turn: How often the sample occurred in this epoch before, so that no noise repeats.
    """
    return f"{epoch}+{turn}" if turn else str(epoch)


def draw_caption(
    ident: str,
    captions: Sequence[str],
    sources: Sequence[str],
    seed: int,
    draw: str,
    dropout: float,
    weights: Mapping[str, float] | None = None,
) -> str:
    """Draws one of a sample's captions, by weight, or the empty text (caption dropout).

    Args:
        ident: The sample's id.
        captions: Its captions; if there are none, the empty text is returned.
        sources: The source of each caption.
        seed: The run's seed; the draw depends on it, on `draw` and on the sample's id.
        draw: The key from `draw_name`.
        dropout: Probability of the empty text, 0 to 1.
        weights: Weights by source, as `caption_weight` reads them; None for equal weights.
    """
    if not captions or keyed_unit(f"dropout:{draw}", seed, ident) < dropout:
        return ""
    unit = keyed_unit(f"caption:{draw}", seed, ident)
    shares = [caption_weight(weights, source) for source in sources]
    point = unit * sum(shares)
    for caption, share in zip(captions, shares, strict=True):
        if point < share:
            return caption
        point -= share
    # Because of rounding, the point may lie above the last share.
    return [c for c, share in zip(captions, shares, strict=True) if share > 0][-1]


def has_source(sources: pa.ChunkedArray, weights: Mapping[str, float] | None) -> NDArray[np.bool_]:
    """Returns which samples have a caption with a weight above 0, bool (N,).

    Args:
        sources: (N,) list of the sources of each sample's captions.
        weights: Weights by source, as `caption_weight` reads them; None for equal weights.
    """
    lists = sources.combine_chunks()
    names = lists.flatten().dictionary_encode()
    good = np.array([caption_weight(weights, n) > 0 for n in names.dictionary.to_pylist()], bool)
    flags = good[names.indices.to_numpy()] if len(names) else np.empty(0, np.bool_)
    ends = np.append(0, np.cumsum(flags))[
        np.append(0, np.cumsum(lists.value_lengths().fill_null(0)))
    ]
    return np.asarray(np.diff(ends) > 0)
