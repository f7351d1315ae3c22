"""The chance of which pictures a set has, as a part of the variance of arms that share few.

Random halves of one pool are equal data, and still other pictures: over 60 such pairs the
difference of a measure varied 1.1 to 1.3 times as much as six seeds tell, and 7 of 60 were told
apart at 5 %. Seeds can't show it, as a set is the same in all of them. So `drawn.json` has how much
it was there: the variance that one set's choice adds to the mean of a measure, as a share of the
variance of one seed, pooled over the six measures. It falls as the number of pictures grows.

Arms that share most of their pictures are pairs, and differ by what was changed; they have no such
part.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FILE = "drawn.json"
MEASURED = "debug"  # the preset whose share stands in for one that nobody measured


@dataclass(frozen=True)
class Drawn:
    """How much the choice of a set's pictures adds.

    Attributes:
        share: Of one seed's variance.
        pictures: That each set was trained on there.
        comparisons: Pairs of equal halves that it stands on.
    """

    share: float
    pictures: int
    comparisons: int


@cache
def stored(preset: str) -> tuple[Drawn, bool]:
    """What is known of a preset, and whether it was measured of this very one."""
    found = json.loads(files(__package__).joinpath(FILE).read_text(encoding="utf-8"))["presets"]
    return Drawn(**found[preset if preset in found else MEASURED]), preset in found


def weights(known: Drawn, shared: Mapping[str, int]) -> tuple[float, float]:
    """What the choice of each set's pictures adds to the variance of its means.

    Args:
        known: How much it adds.
        shared: Pictures that are trained on: in `both` arms, in `a_only`, in `b_only`.

    Returns:
        Of A and of B, in variances of one replicate. Pictures in both arms add nothing.
    """
    one, other = (
        known.share * known.pictures * own / max(1, own + shared["both"]) ** 2
        for own in (shared["a_only"], shared["b_only"])
    )
    return one, other


def note(preset: str) -> str:
    """What people should know of it."""
    known, measured = stored(preset)
    where = f"measured on {known.comparisons} pairs of equal sets of {known.pictures} pictures"
    return (
        f"which pictures a set happens to have counts as chance, too: as {100 * known.share:.2g} % "
        f"of a seed's variance for {known.pictures} pictures, less for more ({where}"
        + (")" if measured else f" in {MEASURED}, and taken over for {preset})")
    )
