"""What a group of signals is, and how one is found by its path."""

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
    """Signals that are measured together and stored in one table, `inspect.<name>`.

    Attributes:
        name: Lower-case identifier.
        version: Raised by hand when the same picture would give other values.
        schema: The columns.
        measure: From a picture and its file name (None if it has none) to column -> value. A value
            may depend on these two alone. Whatever it raises makes the picture fail, with the
            group's name.
    """

    name: str
    version: int
    schema: pa.Schema
    measure: Callable[[Picture, str | None], Mapping[str, Any]]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"a signal group's name must be lower case letters, digits and _, got {self.name!r}"
            )
        taken = sorted(_RESERVED.intersection(self.schema.names))
        if taken:
            raise ValueError(f"signal group {self.name!r}: columns {taken} are the runner's own")


def load_group(path: str) -> SignalGroup:
    """Imports a group of signals.

    Args:
        path: `package.module:attribute`; the attribute is `group` by default. A name without a dot
            is one of the built-in modules: `tone` is `nucleus_data.signals.tone:group`.

    Returns:
        The group.

    Raises:
        ValueError: If the path is malformed, can't be imported, or leads to something else.
    """
    if not _PATH.fullmatch(path):
        raise ValueError(f"a signal group is named package.module:attribute, got {path!r}")
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
            f"signal group {path!r}: {module_path}.{attribute} must be a SignalGroup, it is {what}"
        )
    return found


def _built_in() -> list[str]:
    """Names of the groups in this package, sorted."""
    names = [info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)])]
    modules = {name: importlib.import_module(f"{_BUILT_IN}.{name}") for name in names}
    groups = {name: vars(module).get("group") for name, module in modules.items()}
    return [name for name, group in groups.items() if isinstance(group, SignalGroup)]


def is_built_in(path: str) -> bool:
    """Whether a path leads into this package, whose versions alone say what its values are."""
    module_path = path.partition(":")[0]
    return "." not in module_path or module_path.startswith(f"{_BUILT_IN}.")
