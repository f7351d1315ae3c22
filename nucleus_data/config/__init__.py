"""Loads a YAML file and overrides into a settings model, with errors that name what is allowed.

A file can name another file as its `base`, and contain only what differs from it. Overrides have
the form `key.sub=value`. Unknown keys are errors. Every error names the file or the override, the
key, the value found and the values allowed.

This package defines no settings itself: every function takes the pydantic model, which is defined
next to the code that uses it.
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
