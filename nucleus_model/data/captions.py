"""Which of its captions a sample is trained with in an epoch: drawn by its id. Free of torch."""

from collections.abc import Mapping, Sequence

from nucleus_data.hashing import keyed_unit
from nucleus_model.settings.phases import caption_weight


def draw_name(epoch: int, turn: int = 0) -> str:
    """What a sample's caption, noise and sigma are drawn by.

    Args:
        epoch: The epoch, from 0.
        turn: How often the epoch has had the sample before; no noise is met twice.
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
    """Draws one of a sample's captions, by weight, or the empty text.

    Args:
        ident: The sample's id.
        captions: Its captions; without any it has the empty text.
        sources: Where each is from.
        seed: Of the run; the draw is keyed by it, `draw` and the sample's id.
        draw: The epoch, from 0; for a sample that it has had before, `draw_name` of that.
        dropout: Share of empty texts, 0 to 1.
        weights: By source, as `caption_weight` reads them; None for all alike.
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
    # Rounding may leave a rest above the last share.
    return [c for c, share in zip(captions, shares, strict=True) if share > 0][-1]
