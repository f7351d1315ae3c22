"""A corpus as it lies on disk, and how what lies there becomes whole; it decides nothing.

- `store`: one path layer for folders and object stores; everything stands on create-if-absent.
- `tables`, `records`: tables of Parquet parts, each its own commit; `images`: bytes of the tars
  (`tar_names`: what their members are called).
- `corpus`: one data set under one root, with the names of what lies in it.
- `published`: markers that say that a corpus-wide table is complete; `runs`: what runs leave.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nucleus_data.corpus.corpus import RECORDS_HASH, Corpus

__all__ = ["RECORDS_HASH", "Corpus"]


def __getattr__(name: str) -> Any:
    # Imported when first asked for: who only needs a name of this room waits for no database.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("nucleus_data.corpus.corpus"), name)
