"""Counts a set's partitions by bucket and stratum, and finds where limits and caps cut them off.

A partition is a range of the keyed order, so a limit, or the cap of a curriculum bucket, falls into
one partition: earlier ones are taken entirely, later ones not at all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.stages.shard.chosen import OVER_CAP, Numbers, placed, stratum_names
from nucleus_data.stages.shard.settings import ShardSettings

NO_PARTITION = 1 << 40  # for no limit: beyond all partitions
# Counts of a partition's rows, of three kinds: all rows (`kept`), rows that count towards a cap
# (`fits`), and samples by bucket and stratum (`samples`).
COUNTS_SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("resolution", pa.int32()),
        ("bucket", pa.int32()),
        ("stratum", pa.string()),
        ("curriculum", pa.string()),
        ("count", pa.int64()),
        ("bytes", pa.int64()),
    ]
)
KEPT, FITS, SAMPLES = "kept", "fits", "samples"


@dataclass
class Cut:
    """Where the keyed order is cut off, for all records and for each curriculum bucket.

    Attributes:
        limit: (partition in which the limit falls, how many of its records are taken).
        caps: Curriculum bucket -> the same for its cap.
    """

    limit: tuple[int, int] = (NO_PARTITION, 0)
    caps: dict[str, tuple[int, int]] = field(default_factory=dict)

    def limited(self, partition: int, rows: pa.Table) -> pa.Table:
        """Returns the rows of a partition, given in keyed order, that are within the limit."""
        where, most = self.limit
        return rows if partition < where else rows.slice(0, most if partition == where else 0)


@dataclass(frozen=True)
class Placed:
    """The rows of a partition, with their buckets.

    Attributes:
        rows: N rows, in keyed order.
        at: Resolution -> bucket, reason and crop from `placed`, with caps applied.
        fits: Whether a row is in any resolution, disregarding caps, bool[N].
    """

    rows: pa.Table
    at: dict[int, tuple[Numbers, Numbers, Numbers]]
    fits: Numbers


def places_of(rows: pa.Table, partition: int, cut: Cut, settings: ShardSettings) -> Placed:
    """Assigns the rows of a partition to buckets.

    Args:
        rows: The rows, as `CHOSEN_SCHEMA`, in keyed order.
        partition: The partition's number.
        cut: Where limits and caps cut off.
        settings: How the training set is made.
    """
    rows = cut.limited(partition, rows)
    at = {side: placed(rows, settings, side) for side in settings.resolutions}
    fits = np.any([reason == "" for _, reason, _ in at.values()], axis=0)
    over = _over(rows, fits, partition, cut.caps)
    for side, (bucket, reason, boxes) in at.items():
        at[side] = bucket, np.where((reason == "") & (over != ""), over, reason), boxes
    return Placed(rows, at, fits)


def count_places(found: Placed) -> pa.Table:
    """Counts the rows of a partition, as `COUNTS_SCHEMA`."""
    rows, curriculum = found.rows, pc.fill_null(found.rows.column("curriculum"), "")
    none = {"resolution": None, "bucket": None, "stratum": None, "curriculum": None, "bytes": 0}
    counts: list[dict[str, Any]] = [{**none, "kind": KEPT, "count": rows.num_rows}]
    fitting = curriculum.filter(pa.array(found.fits)).value_counts().to_pylist()
    counts += [
        {**none, "kind": FITS, "curriculum": item["values"], "count": item["counts"]}
        for item in fitting
    ]
    tables = [pa.Table.from_pylist(counts, COUNTS_SCHEMA)]
    names = stratum_names(rows)
    for side, (bucket, reason, _) in found.at.items():
        inside = pa.array(reason == "")
        table = pa.table(
            {
                "bucket": pa.array(bucket, pa.int32()),
                "stratum": names,
                "curriculum": curriculum,
                "bytes": rows.column("size"),
            }
        ).filter(inside)
        each = table.group_by(["bucket", "stratum", "curriculum"], use_threads=False).aggregate(
            [([], "count_all"), ("bytes", "sum")]
        )
        each = each.rename_columns(["bucket", "stratum", "curriculum", "count", "bytes"])
        each = each.append_column("kind", pa.array([SAMPLES] * each.num_rows, pa.string()))
        side_column = pa.array(np.full(each.num_rows, side, np.int32))
        each = each.append_column("resolution", side_column).select(COUNTS_SCHEMA.names)
        keys = [("bucket", "ascending"), ("stratum", "ascending"), ("curriculum", "ascending")]
        tables.append(each.cast(COUNTS_SCHEMA).sort_by(keys))
    return pa.concat_tables(tables).combine_chunks()


def limit_cut(counts: Iterable[pa.Table], limit: int | None) -> tuple[int, int]:
    """Returns the partition in which a limit falls, and how many of its records are taken."""
    if limit is None:
        return NO_PARTITION, 0
    return _cut((_total(table, KEPT) for table in counts), limit)


def cap_cuts(counts: list[pa.Table], caps: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Returns, by curriculum bucket, where its cap falls, as `limit_cut` does for a limit."""
    return {
        name: _cut((_total(table, FITS, name) for table in counts), most)
        for name, most in caps.items()
    }


def _cut(numbers: Iterable[int], most: int) -> tuple[int, int]:
    """Returns the partition in which record `most` falls, and how many of its records are taken."""
    before = 0
    for partition, number in enumerate(numbers):
        if before + number > most:
            return partition, most - before
        before += number
    return NO_PARTITION, 0


def _total(table: pa.Table, kind: str, curriculum: str | None = None) -> int:
    chosen = pc.equal(table.column("kind"), kind)
    if curriculum is not None:
        chosen = pc.and_(chosen, pc.equal(table.column("curriculum"), curriculum))
    return int(pc.sum(table.column("count").filter(chosen)).as_py() or 0)


def _over(rows: pa.Table, fits: Numbers, partition: int, caps: Mapping[str, Any]) -> Numbers:
    """Returns the reason of each record that is over its bucket's cap; empty for the others."""
    over = np.full(rows.num_rows, "", object)
    curriculum = pc.fill_null(rows.column("curriculum"), "")
    for name, (where, most) in caps.items():
        if partition >= where:
            members = np.flatnonzero(pc.equal(curriculum, name).to_numpy() & fits)
            over[members[most if partition == where else 0 :]] = f"{OVER_CAP}:{name}"
    return over
