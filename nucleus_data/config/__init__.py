"""One YAML file and its overrides as a settings model, with errors that name what is allowed.

A file may name another as its `base` and say only what differs. Overrides are `key.sub=value`.
Unknown keys are errors; every error names the file or the override, the key, what was found and
what is allowed. Which settings there are is their owners' business: every function here takes the
model.
"""

from nucleus_data.config.layers import (
    SHIPPED,
    located,
    parse_override,
    read_layers,
    set_key,
    shipped,
)
from nucleus_data.config.settings import (
    ADDED,
    KEEPS_VALUES,
    deciding,
    describe,
    elsewhere,
    explain,
    load,
)
from nucleus_data.config.words import SNAKE_CASE, nearest, shown, spelled

__all__ = [
    "ADDED",
    "KEEPS_VALUES",
    "SHIPPED",
    "SNAKE_CASE",
    "deciding",
    "describe",
    "elsewhere",
    "explain",
    "load",
    "located",
    "nearest",
    "parse_override",
    "read_layers",
    "set_key",
    "shipped",
    "shown",
    "spelled",
]
