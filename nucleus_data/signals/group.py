"""Defines groups of signals, and loads one by its import path."""

import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from nucleus_data.pixels import Picture

_RESERVED = frozenset({"shard", "row", "id", "error"})
_BUILT_IN = "nucleus_data.signals"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?")


@dataclass(frozen=True)
class SignalGroup:
    """Signals that are computed together and stored in one table, `inspect.<name>`.

    Attributes:
        name: Lower-case identifier.
        version: Must be increased by hand when the same picture would give other values.
        schema: The columns.
        measure: Computes column -> value from a picture and its file name (None if it has none).
            Values may depend only on these two. Any exception is recorded as the picture's failure,
            with the group's name.
    """

    name: str
    version: int
    schema: pa.Schema
    measure: Callable[[Picture, str | None], Mapping[str, Any]]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"a signal group's name must be lower-case letters, digits and _, got {self.name!r}"
            )
        taken = sorted(_RESERVED.intersection(self.schema.names))
        if taken:
            raise ValueError(f"signal group {self.name!r}: columns {taken} are reserved")


def load_group(path: str) -> SignalGroup:
    """Imports a group of signals.

    Args:
        path: `package.module:attribute`; the attribute is `group` by default. A name without a dot
            is that of a built-in module: `tone` stands for `nucleus_data.signals.tone:group`.

    Raises:
        ValueError: The path is malformed, can't be imported, or is not that of a `SignalGroup`.
    """
    if not _PATH.fullmatch(path):
        raise ValueError(f"a signal group must be package.module:attribute, got {path!r}")
    module_path, _, attribute = path.partition(":")
    attribute = attribute or "group"
    if "." not in module_path:
        module_path = f"{_BUILT_IN}.{module_path}"
    try:
        module = importlib.import_module(module_path)
    except ImportError as error:
        raise ValueError(
            f"signal group {path!r}: cannot import {module_path!r} ({error}); give"
            f" package.module:attribute of an installed package, or one of {', '.join(_built_in())}"
        ) from error
    found = getattr(module, attribute, None)
    if not isinstance(found, SignalGroup):
        what = f"a {type(found).__name__}" if hasattr(module, attribute) else "missing"
        raise ValueError(  # noqa: TRY004 - the path is the wrong value, whatever it leads to
            f"signal group {path!r}: {module_path}.{attribute} must be a SignalGroup, but is {what}"
        )
    return found


def _built_in() -> list[str]:
    """Returns the sorted names of the built-in groups."""
    names = [info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)])]
    modules = {name: importlib.import_module(f"{_BUILT_IN}.{name}") for name in names}
    groups = {name: vars(module).get("group") for name, module in modules.items()}
    return [name for name, group in groups.items() if isinstance(group, SignalGroup)]


def is_built_in(path: str) -> bool:
    """Returns whether a path is that of a built-in group, whose version determines its values."""
    module_path = path.partition(":")[0]
    return "." not in module_path or module_path.startswith(f"{_BUILT_IN}.")
