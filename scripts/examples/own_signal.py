"""A signal of one's own: a module with a `group`, named in the recipe by its dotted path.

    nucleus inspect corpus=C 'inspect.signals=[file, tone, hash, scripts.examples.own_signal]'
    nucleus what-if corpus=C 'inspect.signals=[file, tone, hash, scripts.examples.own_signal]' \
        'prefer=[width * height desc]' 'rules.too_red=redness > 0.6'

The default order of `prefer` reads all the built-in groups, so fewer of them need another one.

`redness` is the share of red in a picture's light, 0 to 1.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from nucleus_data import SignalGroup
from nucleus_data.pixels import Picture


def measure(picture: Picture, filename: str | None) -> Mapping[str, Any]:
    """One value a column; it may depend on the picture and its file name alone."""
    red, green, blue = picture.small.mean((0, 1))  # an 8-bit RGB view of at most 256 pixels a side
    return {"redness": float(red / max(red + green + blue, 1))}


group = SignalGroup("own", 1, pa.schema([("redness", pa.float32())]), measure)
