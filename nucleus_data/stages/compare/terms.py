"""The terms of a pair of copies: named numbers that measure how the two differ.

A term is positive if the first copy has more of what the name says, and changes its sign if the
copies are swapped. A few terms, whose names begin with `both_`, describe the pair, and do not
depend on the order of the copies.
"""

from nucleus_data.stages.compare.aligned import Aligned
from nucleus_data.stages.compare.detail import detail_terms
from nucleus_data.stages.compare.model import BOTH
from nucleus_data.stages.compare.places import place_terms
from nucleus_data.stages.compare.planes import Terms
from nucleus_data.stages.compare.scale import scale_terms
from nucleus_data.stages.compare.tones import tone_terms
from nucleus_data.stages.compare.views import View


def terms_of(pair: Aligned, one: View, other: View) -> Terms:
    """Computes all terms of a pair.

    Args:
        pair: The aligned copies.
        one: The first copy.
        other: The other copy.
    """
    return {
        **detail_terms(pair),
        **tone_terms(pair),
        **scale_terms(pair),
        **place_terms(pair, one, other),
        "both_fit": pair.place.fit,
    }


def swapped(terms: Terms) -> Terms:
    """Returns the terms of the swapped pair."""
    return {name: value if name.startswith(BOTH) else -value for name, value in terms.items()}
