"""Computes ids, config hashes, and keyed random numbers and orders.

All are functions of their arguments alone, so they are equal on every machine and in every run.
Orders and draws over records exist twice, in Python and as DuckDB SQL, with equal values.
"""

import hashlib
import json
import math
from typing import Any

import numpy as np

SAMPLE = "sample:"
SAMPLE_DIGITS = 13  # hex digits: 52 bits, which a float64 holds exactly


def record_id(source: str, key: str) -> str:
    """Returns the id of an upstream record: 128 bits as 32 hex digits.

    It is a hash of the source's name and the upstream key, never of the record's content.
    """
    return hashlib.blake2b(
        f"{source}\0{key}".encode("utf-8", "surrogateescape"),
        digest_size=16,
        person=b"nucleus-record",
    ).hexdigest()


def config_hash(content: Any) -> str:
    """Returns 16 hex digits that identify JSON-able content, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=8, person=b"nucleus-config").hexdigest()


def keyed_uint64(name: str, seed: int, key: str) -> int:
    """Returns a uniform 64-bit integer, keyed by a purpose's name, a seed and a key (an id)."""
    digest = hashlib.blake2b(f"{name}\0{seed}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def keyed_unit(name: str, seed: int, key: str) -> float:
    """Returns a uniform number in [0, 1), keyed as in `keyed_uint64`."""
    return (keyed_uint64(name, seed, key) >> 11) / float(1 << 53)


def sample_unit(ident: str) -> float:
    """Returns a record's position in [0, 1): it is in every `--sample` with a larger share."""
    return order_unit(SAMPLE, ident)


def sample_sql(share: float, column: str = "id") -> str:
    """Returns the DuckDB condition that `sample_unit` of a column is below a share."""
    digits = f"{math.ceil(share * 16**SAMPLE_DIGITS):0{SAMPLE_DIGITS}x}"
    return f"{keyed_sql(SAMPLE, column)} < '{digits}'" if share < 1 else "true"


def keyed_order(prefix: str, ident: str) -> str:
    """Returns a record's sort key for a purpose, 32 hex digits; equal to `keyed_sql` in DuckDB."""
    return hashlib.md5(f"{prefix}{ident}".encode(), usedforsecurity=False).hexdigest()


def keyed_sql(prefix: str, *columns: str) -> str:
    """Returns a DuckDB expression to order by: a random order, determined by the columns alone.

    Args:
        prefix: A purpose and a seed, hashed before the columns; each prefix gives another order.
        columns: SQL expressions of texts, for example `s.id`.
    """
    return f"md5({' || '.join([_literal(prefix), *columns])})"


def order_unit(prefix: str, ident: str) -> float:
    """Returns `keyed_order` as a uniform number in [0, 1); equal to `unit_sql` in DuckDB."""
    return int(keyed_order(prefix, ident)[:SAMPLE_DIGITS], 16) / 16**SAMPLE_DIGITS


def unit_sql(prefix: str, column: str = "id") -> str:
    """Returns a DuckDB expression of a uniform number in [0, 1), determined by the column alone."""
    digits = f"'0x' || left({keyed_sql(prefix, column)}, {SAMPLE_DIGITS})"
    return f"CAST({digits} AS BIGINT) / {16**SAMPLE_DIGITS}.0::DOUBLE"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def encode_rows(rows: np.ndarray) -> str:
    """Encodes row numbers as ranges: `[0, 1, 2, 5]` becomes `0-2,5`.

    Args:
        rows: Integers of shape [N], sorted and unique.
    """
    rows = np.asarray(rows, dtype=np.int64)
    if not len(rows):
        return ""
    breaks = np.flatnonzero(np.diff(rows) != 1)
    starts = rows[np.r_[0, breaks + 1]]
    ends = rows[np.r_[breaks, len(rows) - 1]]
    return ",".join(
        f"{a}" if a == b else f"{a}-{b}"
        for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
    )


def decode_rows(text: str) -> np.ndarray:
    """Decodes the ranges of `encode_rows` to int64[N]."""
    ranges = []
    for item in text.split(",") if text else []:
        first, _, last = item.partition("-")
        ranges.append(np.arange(int(first), int(last or first) + 1, dtype=np.int64))
    return np.concatenate(ranges) if ranges else np.empty(0, np.int64)
