"""Checks whether numba's functions are in its cache, without importing numba.

The first run of a new installation compiles them for half a minute or more without any output, so
the user should be told. `scripts/install` and `scripts/compile_kernels.py` compile them beforehand.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

CACHED = b"cache=True"
TAG = f".py{sys.version_info.major}{sys.version_info.minor}"
MESSAGE = (
    "compiling for this machine first, which may take a minute or two; later runs find it done"
)


def compiles(files: Iterable[Path]) -> bool:
    """Whether the numba functions in any of these files still have to be compiled.

    Args:
        files: Modules whose cached numba functions are always used.
    """
    return any(CACHED in file.read_bytes() and not _is_cached(file) for file in files)


def _is_cached(file: Path) -> bool:
    # An index file is invalid if the source file is newer.
    changed = file.stat().st_mtime
    return any(
        index.stat().st_mtime >= changed
        for folder in _folders(file)
        for index in folder.glob(f"{file.stem}.*{TAG}*.nbi")
    )


def _folders(file: Path) -> Iterable[Path]:
    """Yields numba's cache folders: NUMBA_CACHE_DIR, or beside the file and in the user's cache."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if not given:
        yield file.parent / "__pycache__"
    root = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "numba"
    # A module's cache folder is named after the folder of the module, plus a hash.
    yield from root.expanduser().glob(f"{file.parent.name}_*")
