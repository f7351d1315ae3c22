"""The variance due to which pictures a set happens to have, for arms that share few of them.

Random halves of one pool are equally good data, but different pictures: over 60 such pairs, the
difference of a measure varied 1.1 to 1.3 times as much as the spread over six seeds suggests, and 7
of 60 differed significantly at 5 %. Seeds can't show this, as the set is the same for all of them.
`drawn.json` stores how large it was there: the variance that the choice of one set's pictures adds
to the mean of a measure, as a share of one seed's variance, pooled over the six measures. It
shrinks as the number of pictures grows.

Arms that share most of their pictures are analysed as pairs and differ in what was changed, so this
term does not apply to them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FILE = "drawn.json"
MEASURED = "debug"  # the preset whose share is used for presets that were not measured


@dataclass(frozen=True)
class Drawn:
    """How much variance the choice of a set's pictures adds.

    Attributes:
        share: The added variance, as a share of one seed's variance.
        pictures: Number of pictures per set in that measurement.
        comparisons: Number of pairs of equal halves in that measurement.
    """

    share: float
    pictures: int
    comparisons: int


@cache
def stored(preset: str) -> tuple[Drawn, bool]:
    """Returns the stored figure for a preset, and whether it was measured for this preset."""
    shares = json.loads(files(__package__).joinpath(FILE).read_text(encoding="utf-8"))["presets"]
    return Drawn(**shares[preset if preset in shares else MEASURED]), preset in shares


def weights(known: Drawn, shared: Mapping[str, int]) -> tuple[float, float]:
    """Computes what the choice of each set's pictures adds to the variance of its means.

    Args:
        known: The stored figure.
        shared: Numbers of training pictures in `both` arms, in `a_only` and in `b_only`.

    Returns:
        The added variances for A and B, in units of one replicate's variance. Pictures in both
        arms add nothing.
    """
    a, b = (
        known.share * known.pictures * own / max(1, own + shared["both"]) ** 2
        for own in (shared["a_only"], shared["b_only"])
    )
    return a, b


def note(preset: str) -> str:
    """Returns a note for people about this term."""
    known, measured = stored(preset)
    where = f"measured on {known.comparisons} pairs of equal sets of {known.pictures} pictures"
    return (
        f"which pictures a set happens to have counts as chance, too: as {100 * known.share:.2g} % "
        f"of a seed's variance for {known.pictures} pictures, less for more ({where}"
        + (")" if measured else f" in {MEASURED}, and taken over for {preset})")
    )
