"""Hashes around few centres, their duplicates by the definition, and a corpus that holds them."""

import hashlib

import numpy as np
import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.stages.dedup.gather import READS, ComparedCorpus
from nucleus_data.stages.dedup.rows import INPUT
from nucleus_data.stages.dedup.settings import DedupSettings


def flip(bits, number, rng):
    """Flips `number` different bits of a list of bits."""
    changed = list(bits)
    for place in rng.choice(len(bits), size=number, replace=False):
        changed[place] ^= 1
    return changed


def to_bytes(bits):
    """Bits as bytes, the first bit on top."""
    return np.packbits(np.array(bits, dtype=np.uint8)).tobytes()


def digest(content):
    """The SHA-256 of a text, in hex; None of None."""
    return None if content is None else hashlib.sha256(content.encode()).hexdigest()


def hash_table(rows):
    """A table from (shard, row, sha256, phash bits, hash256 bits, width, height)."""
    columns = {name: [] for name in INPUT.names}
    for shard, row, sha256, phash, hash256, width, height in rows:
        columns["shard"].append(shard)
        columns["row"].append(row)
        columns["id"].append(f"{shard:016x}{row:016x}")
        columns["sha256"].append(digest(sha256))
        columns["phash"].append(None if phash is None else int.from_bytes(to_bytes(phash), "big"))
        columns["hash256"].append(None if hash256 is None else to_bytes(hash256))
        columns["width"].append(width)
        columns["height"].append(height)
    return pa.table(columns, schema=INPUT)


def clustered_table(seed, count, *, centres=3):
    """Records around few centres: equal ones, near ones, chains, other shapes, failed ones."""
    rng = np.random.default_rng(seed)
    middles = [
        (rng.integers(0, 2, 64).tolist(), rng.integers(0, 2, 256).tolist()) for _ in range(centres)
    ]
    sizes = [(400, 300), (800, 600), (406, 300), (412, 300), (420, 300), (300, 400)]
    rows = []
    for place in range(count):
        phash, hash256 = middles[rng.integers(centres)]
        phash = flip(phash, int(rng.choice([0, 0, 0, 1, 2, 3, 5])), rng)
        hash256 = flip(hash256, int(rng.choice([0, 0, 0, 0, 12, 21, 30])), rng)
        width, height = sizes[rng.integers(len(sizes))]
        sha256 = f"{place:064x}"
        kind = rng.random()
        if kind < 0.25 and rows:
            _, _, sha256, phash, hash256, width, height = rows[rng.integers(len(rows))]
        elif kind < 0.3:
            phash = hash256 = None
        elif kind < 0.35:
            sha256 = None
        rows.append((place // 7, place % 7, sha256, phash, hash256, width, height))
    return hash_table(rows)


def true_pairs(table, settings=None):
    """All duplicate pairs of ids, by the definition."""
    settings = settings or DedupSettings()
    rows = table.to_pylist()
    found = set()
    for place, one in enumerate(rows):
        for other in rows[:place]:
            same_bytes = one["sha256"] is not None and one["sha256"] == other["sha256"]
            if same_bytes or _near(one, other, settings):
                found.add(frozenset((one["id"], other["id"])))
    return found


def _near(one, other, settings):
    if one["phash"] is None or other["phash"] is None:
        return False
    apart = int.from_bytes(one["hash256"], "big") ^ int.from_bytes(other["hash256"], "big")
    ratios = sorted(row["width"] / row["height"] for row in (one, other))
    return (
        (one["phash"] ^ other["phash"]).bit_count() <= settings.distance
        and apart.bit_count() <= settings.hash256_distance
        and ratios[1] / ratios[0] <= 1 + settings.aspect_tolerance + 1e-12
    )


TABLES = READS["upright"]
HASHES = dict.fromkeys(TABLES, "0" * 16)


def source(corpus: Corpus, number: int = 0) -> ComparedCorpus:
    """A corpus as one that is compared, with all of its shards."""
    return ComparedCorpus(number, corpus.uri, {}, "upright", HASHES, corpus.shards())
