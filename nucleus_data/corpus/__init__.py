"""A corpus as it lies on disk, and how what lies there becomes whole; it decides nothing.

- `store`: one path layer for folders and object stores; everything stands on create-if-absent.
- `tables`, `records`: tables of Parquet parts, each its own commit; `images`: bytes of the tars.
- `corpus`: one data set under one root, with the names of what lies in it.
- `published`: markers that say that a corpus-wide table is complete; `runs`: what runs leave.
"""

from nucleus_data.corpus.corpus import RECORDS_HASH, Corpus

__all__ = ["RECORDS_HASH", "Corpus"]
