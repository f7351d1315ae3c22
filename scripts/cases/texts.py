"""Captions made worse: given to other pictures, or cut to a word."""

from collections.abc import Mapping

from nucleus_data.hashing import keyed_uint64

ARTICLES = frozenset({"a", "an", "the"})
Texts = Mapping[str, str]


def chosen(ids: Texts, share: float) -> list[str]:
    """A share of the ids, in an order by hash that has nothing to do with what they show."""
    ordered = sorted(ids, key=lambda ident: (keyed_uint64("worse-captions", 0, ident), ident))
    return ordered[: round(share * len(ordered))]


def swapped(texts: Texts, share: float) -> dict[str, str]:
    """The captions of a share of the pictures go round among them.

    Args:
        texts: Id -> caption.
        share: Of the pictures, 0 to 1.

    Returns:
        Id -> caption, of all. Each picture of the share has the caption of the next one whose is
        another; where all of them say the same, its own.
    """
    turn = chosen(texts, share)
    found = dict(texts)
    for place, ident in enumerate(turn):
        following = (texts[other] for other in (*turn[place + 1 :], *turn[:place]))
        found[ident] = next((text for text in following if text != texts[ident]), texts[ident])
    return found


def shortened(texts: Texts, share: float = 1.0) -> dict[str, str]:
    """The captions of a share of the pictures are cut to their first word that is no article."""
    return {**texts, **{ident: _first_word(texts[ident]) for ident in chosen(texts, share)}}


def _first_word(text: str) -> str:
    words = text.split()
    return next((word for word in words if word.lower() not in ARTICLES), text).strip(".,;:")
