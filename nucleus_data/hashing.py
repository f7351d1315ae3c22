"""Ids, config hashes, keyed draws and orders: the same on every machine and in every run."""

import hashlib
import json
import math
from typing import Any

import numpy as np

SAMPLE = "sample:"
SAMPLE_DIGITS = 13  # of hex: 52 bits, exact in a float


def record_id(source: str, key: str) -> str:
    """The 128-bit id, in hex, of an upstream record.

    It is a hash of the source's name and the upstream key, never of content.
    """
    return hashlib.blake2b(
        f"{source}\0{key}".encode("utf-8", "surrogateescape"),
        digest_size=16,
        person=b"nucleus-record",
    ).hexdigest()


def config_hash(content: Any) -> str:
    """16 hex digits that identify JSON-able content; the order of keys does not matter."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=8, person=b"nucleus-config").hexdigest()


def keyed_uint64(name: str, seed: int, key: str) -> int:
    """A uniform 64-bit integer, a function of a purpose's name, a seed and a key (an id) alone."""
    digest = hashlib.blake2b(f"{name}\0{seed}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def keyed_unit(name: str, seed: int, key: str) -> float:
    """A uniform number in [0, 1), a function of its arguments alone."""
    return (keyed_uint64(name, seed, key) >> 11) / float(1 << 53)


def sample_unit(ident: str) -> float:
    """Where a record stands, in [0, 1): every `--sample` with a larger share has it."""
    return order_unit(SAMPLE, ident)


def sample_sql(share: float, column: str = "id") -> str:
    """The SQL condition (DuckDB) that `sample_unit` of a column is below a share."""
    digits = f"{math.ceil(share * 16**SAMPLE_DIGITS):0{SAMPLE_DIGITS}x}"
    return f"{keyed_sql(SAMPLE, column)} < '{digits}'" if share < 1 else "true"


def keyed_order(prefix: str, ident: str) -> str:
    """Where a record stands in the order of a purpose: 32 hex digits, the same as `keyed_sql`."""
    return hashlib.md5(f"{prefix}{ident}".encode(), usedforsecurity=False).hexdigest()


def keyed_sql(prefix: str, *columns: str) -> str:
    """A SQL expression (DuckDB) to order by: at random, but a function of the columns alone.

    Args:
        prefix: What is hashed before the columns: a purpose and a seed; another one gives another
            order.
        columns: SQL of texts, for example `s.id`.
    """
    return f"md5({' || '.join([_literal(prefix), *columns])})"


def order_unit(prefix: str, ident: str) -> float:
    """A uniform number in [0, 1): `keyed_order` as a number, the same as `unit_sql`."""
    return int(keyed_order(prefix, ident)[:SAMPLE_DIGITS], 16) / 16**SAMPLE_DIGITS


def unit_sql(prefix: str, column: str = "id") -> str:
    """A SQL expression (DuckDB): a uniform number in [0, 1), a function of the column alone."""
    digits = f"'0x' || left({keyed_sql(prefix, column)}, {SAMPLE_DIGITS})"
    return f"CAST({digits} AS BIGINT) / {16**SAMPLE_DIGITS}.0::DOUBLE"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def encode_rows(rows: np.ndarray) -> str:
    """Row numbers as ranges: `[0, 1, 2, 5]` becomes `0-2,5`. Must be sorted and unique."""
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
    """The inverse of `encode_rows`, as int64."""
    ranges = []
    for item in text.split(",") if text else []:
        first, _, last = item.partition("-")
        ranges.append(np.arange(int(first), int(last or first) + 1, dtype=np.int64))
    return np.concatenate(ranges) if ranges else np.empty(0, np.int64)
