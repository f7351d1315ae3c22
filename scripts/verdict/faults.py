"""Eight kinds of faults, each planted in three doses into a pool whose captions are true.

Which pictures have a fault goes by a keyed order of their keys: a larger dose has the pictures of a
smaller one and more, and another seed has others. Keys stay, so that both sets have the same ids;
only a dropped source takes some away.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from nucleus_data.hashing import keyed_uint64
from nucleus_data.world.alterations import FAULTS
from nucleus_data.world.scenes import BACKGROUNDS
from nucleus_data.world.words import captions
from nucleus_model.training.verdict.judge import MEASURES
from scripts.verdict.pool import SHORTER, Item, Shown, encoded

COPIED = 12  # pictures of which all copies are
BLUR = 1.5  # pixels of 64
NOISE = 40.0  # levels of 255, one deviation
WATERMARK = 1  # which strength: 45 % of white
Plant = Callable[[Sequence[Shown], float, int], list[Item]]


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: Its name.
        words: What a dose is.
        doses: Three, the smallest first.
        about: What the verdict should name: `captions`, `pictures`, `duplicates`, or anything.
        plant: Makes the set's records.
    """

    name: str
    words: str
    doses: tuple[float, float, float]
    about: str
    plant: Plant


def keyed_order(pictures: Sequence[Shown], purpose: str, seed: int) -> list[Shown]:
    """Pictures in an order by hash."""
    return sorted(pictures, key=lambda one: (keyed_uint64(purpose, seed, one.key), one.key))


def _chosen(pictures: Sequence[Shown], share: float, name: str, seed: int) -> list[Shown]:
    return keyed_order(pictures, f"fault:{name}", seed)[: round(share * len(pictures))]


def _with(pictures: Sequence[Shown], changed: dict[str, Item]) -> list[Item]:
    return [changed.get(one.key) or one.item for one in pictures]


def _swapped(pictures: Sequence[Shown], share: float, seed: int) -> list[Item]:
    """Each has the caption of the next one."""
    mine = _chosen(pictures, share, "swapped", seed)
    others = [*mine[1:], *mine[:1]]
    return _with(
        pictures,
        {
            one.key: replace(one.item, caption=other.caption)
            for one, other in zip(mine, others, strict=True)
        },
    )


def _short(pictures: Sequence[Shown], share: float, seed: int) -> list[Item]:
    mine = _chosen(pictures, share, "short", seed)
    texts = {one.key: captions(one.scene)[SHORTER] for one in mine}
    return _with(pictures, {one.key: replace(one.item, caption=texts[one.key]) for one in mine})


def _duplicates(pictures: Sequence[Shown], share: float, seed: int) -> list[Item]:
    """Copies of few others, picture and caption."""
    mine = _chosen(pictures, share, "duplicates", seed)
    originals = keyed_order(pictures, "fault:duplicates", seed)[-COPIED:]
    copied = [originals[n % COPIED].item for n in range(len(mine))]
    return _with(
        pictures, {one.key: replace(o, key=one.key) for one, o in zip(mine, copied, strict=True)}
    )


def _altered(name: str, alter: Callable[[Shown], Image.Image]) -> Plant:
    def plant(pictures: Sequence[Shown], share: float, seed: int) -> list[Item]:
        mine = _chosen(pictures, share, name, seed)
        return _with(
            pictures, {one.key: replace(one.item, data=encoded(alter(one))) for one in mine}
        )

    return plant


def _blurred(one: Shown) -> Image.Image:
    return one.picture.filter(ImageFilter.GaussianBlur(BLUR))


def _noisy(one: Shown) -> Image.Image:
    pixels = np.asarray(one.picture, np.float32)
    rng = np.random.default_rng(keyed_uint64("fault:noise", 0, one.key))
    noisy = pixels + NOISE * rng.standard_normal(pixels.shape, dtype=np.float32)
    return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))


def _marked(one: Shown) -> Image.Image:
    rng = np.random.default_rng(keyed_uint64("fault:watermarks", 0, one.key))
    return FAULTS["watermarked"](one.picture, WATERMARK, rng)


def _jpeg(pictures: Sequence[Shown], quality: float, seed: int) -> list[Item]:
    return [replace(one.item, data=encoded(one.picture, round(quality))) for one in pictures]


def _dropped(pictures: Sequence[Shown], sources: float, seed: int) -> list[Item]:
    """Pictures on one, two or three of five backgrounds are not there: each is a source."""
    names = list(BACKGROUNDS)
    first = seed % len(names)
    gone = {names[(first + n) % len(names)] for n in range(round(sources))}
    return [one.item for one in pictures if one.scene.background not in gone]


def clean(pictures: Sequence[Shown], dose: float = 0, seed: int = 0) -> list[Item]:
    """The records of a set without a fault."""
    return [one.item for one in pictures]


SHARE = "% of the pictures"
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("swapped captions", SHARE, (0.05, 0.1, 0.3), "captions", _swapped),
        Kind("short captions", SHARE, (0.3, 0.6, 1.0), "captions", _short),
        Kind("duplicates", SHARE, (0.1, 0.3, 0.6), "duplicates", _duplicates),
        Kind("blur", SHARE, (0.1, 0.3, 1.0), "pictures", _altered("blur", _blurred)),
        Kind("JPEG quality", "of all", (50, 20, 5), "pictures", _jpeg),
        Kind("noise", SHARE, (0.1, 0.3, 1.0), "pictures", _altered("noise", _noisy)),
        Kind("watermarks", SHARE, (0.1, 0.3, 1.0), "pictures", _altered("watermarks", _marked)),
        Kind("a source dropped", "of five", (1, 2, 3), "", _dropped),
    )
}


def dose_words(kind: Kind, dose: float) -> str:
    """A dose for people."""
    return f"{100 * dose:g} %" if kind.words == SHARE else f"{dose:g}"


def named(findings: Iterable[Mapping[str, Any]]) -> list[str]:
    """What a verdict says is worse, the surest first: `pictures`, `captions`, `duplicates`.

    As the sentence does: a kind is named where a measure that tells of it is worse. The loss, and
    that at much noise, tell of nothing by themselves. (That a gap counts only where it changed by
    more than the loss at much noise is not asked here.)

    Args:
        findings: `name`, `p` and `direction` (-1 where B is worse) of each of the six measures.
    """
    about = {measure.name: measure.about for measure in MEASURES}
    worse = [finding for finding in findings if finding["direction"] < 0]
    kinds = [about[one["name"]] for one in sorted(worse, key=lambda one: one["p"])]
    return [kind for kind in dict.fromkeys(kinds) if kind != "all"]
