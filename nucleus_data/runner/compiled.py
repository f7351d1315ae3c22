"""Whether what numba compiles is in its cache; numba itself is not loaded for that.

The first run of a new installation compiles for half a minute or more, in silence; who waits for it
is told. `scripts/install` and `scripts/compile_kernels.py` do it beforehand.
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
    """Whether the functions in one of these files must be compiled before they run.

    Args:
        files: Modules with functions of numba that are always used; others in them don't count.
    """
    return any(CACHED in file.read_bytes() and not _is_cached(file) for file in files)


def _is_cached(file: Path) -> bool:
    # An index is of no use once its source is another one.
    changed = file.stat().st_mtime
    return any(
        index.stat().st_mtime >= changed
        for folder in _folders(file)
        for index in folder.glob(f"{file.stem}.*{TAG}*.nbi")
    )


def _folders(file: Path) -> Iterable[Path]:
    """Where numba looks: the folder that it is given; or beside the file, and the user's cache."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if not given:
        yield file.parent / "__pycache__"
    root = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "numba"
    # A module's folder there is named by the folder that it lies in, and a hash.
    yield from root.expanduser().glob(f"{file.parent.name}_*")
