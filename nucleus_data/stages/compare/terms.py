"""What tells two copies apart: named numbers, which change their sign with the order of the two.

Positive where the first one has more of what the name says. A few, which begin with `both_`, are of
the pair, whatever the order.
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
    """All terms of a pair."""
    return {
        **detail_terms(pair),
        **tone_terms(pair),
        **scale_terms(pair),
        **place_terms(pair, one, other),
        "both_fit": pair.place.fit,
    }


def swapped(terms: Terms) -> Terms:
    """The terms of the pair in the other order."""
    return {name: value if name.startswith(BOTH) else -value for name, value in terms.items()}
