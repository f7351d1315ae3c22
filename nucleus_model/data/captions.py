"""Draws the caption that a sample is trained with in an epoch, by its id. Does not import torch."""

from collections.abc import Mapping, Sequence

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
