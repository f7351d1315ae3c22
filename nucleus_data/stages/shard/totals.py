"""Totals of a planned set: its buckets, their tars, and where each partition's strata begin."""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.stages.shard.chosen import aspect_sizes
from nucleus_data.stages.shard.counts import KEPT, SAMPLES, Cut
from nucleus_data.stages.shard.pictures import bytes_of
from nucleus_data.stages.shard.settings import ShardSettings

# `before`: number of a stratum's records in earlier partitions, the first rank of this partition.
ORDER_SCHEMA = pa.schema(
    [
        ("resolution", pa.int32()),
        ("bucket", pa.int32()),
        ("stratum", pa.int32()),
        ("before", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Bucket:
    """A nonempty bucket at a resolution.

    Attributes:
        resolution: Side of the square bucket, in pixels.
        bucket: Number of the aspect bucket.
        path: `<resolution>/<aspect>`.
        strata: Names of its strata, sorted.
        counts: Number of records of each stratum.
        first_tar: Number of its first tar in the set.
        each: Samples per tar; the last one has the remainder.
    """

    resolution: int
    bucket: int
    path: str
    strata: list[str]
    counts: list[int]
    first_tar: int
    each: int


@dataclass(frozen=True)
class Totals:
    """The buckets of a set, in the order of their tars.

    Attributes:
        kept: Number of records that the set is made from.
        tars: Number of tars.
        buckets: The nonempty buckets.
        cut: Where limits and caps cut off the keyed order.
    """

    kept: int
    tars: int
    buckets: list[Bucket]
    cut: Cut

    def encoded(self) -> bytes:
        """Encodes the totals as JSON, for `decoded`."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def decoded(cls, content: Mapping[str, Any]) -> "Totals":
        """Makes the totals from the parsed JSON of `encoded`."""
        cut = content["cut"]
        caps = {name: (where, most) for name, (where, most) in cut["caps"].items()}
        limit = (cut["limit"][0], cut["limit"][1])
        buckets = [Bucket(**one) for one in content["buckets"]]
        return cls(content["kept"], content["tars"], buckets, Cut(limit, caps))

    def bucket_of(self, tar: int) -> Bucket:
        """Returns the bucket of a tar."""
        return self.buckets[bisect_right(self._firsts, tar) - 1]

    @cached_property
    def _firsts(self) -> list[int]:
        return [one.first_tar for one in self.buckets]


def merged(
    counts: Sequence[pa.Table], cut: Cut, settings: ShardSettings
) -> tuple[tuple[pa.Table, Any], Totals]:
    """Sums the counts of all partitions.

    Args:
        counts: Counts of each partition, as `COUNTS_SCHEMA`, with caps applied where they fall.
        cut: Where limits and caps cut off.
        settings: How the training set is made.

    Returns:
        Rows of `ORDER_SCHEMA` with the partition of each, and the totals.
    """
    numbers = np.repeat(np.arange(len(counts)), [table.num_rows for table in counts])
    table = pa.concat_tables(counts).append_column("partition", pa.array(numbers))
    kinds = table.column("kind")
    kept = int(pc.sum(table.column("count").filter(pc.equal(kinds, KEPT))).as_py() or 0)
    table = table.filter(pc.equal(kinds, SAMPLES))
    for name, (where, _) in cut.caps.items():
        # A curriculum bucket has no records after the partition in which its cap falls.
        behind = pc.and_(
            pc.equal(table.column("curriculum"), name), pc.greater(table.column("partition"), where)
        )
        table = table.filter(pc.invert(behind))
    table = table.sort_by(
        [(n, "ascending") for n in ("resolution", "bucket", "stratum", "partition")]
    ).combine_chunks()
    buckets: list[Bucket] = []
    orders, partitions, tars = [ORDER_SCHEMA.empty_table()], [np.empty(0, np.int64)], 0
    for side in settings.resolutions:
        sizes = aspect_sizes(settings, side)
        at_side = table.filter(pc.equal(table.column("resolution"), side))
        for number, aspect in enumerate(settings.aspect_names()):
            mine = at_side.filter(pc.equal(at_side.column("bucket"), number))
            if not mine.num_rows:
                continue
            strata = pc.unique(mine.column("stratum")).to_pylist()
            stratum = pc.index_in(mine.column("stratum"), pa.array(strata)).to_numpy()
            count = mine.column("count").to_numpy()
            sums = np.bincount(stratum, weights=count, minlength=len(strata)).astype(np.int64)
            starts = np.cumsum(sums) - sums
            before = np.cumsum(count) - count - starts[stratum]
            total = int(sums.sum())
            size = int(pc.sum(mine.column("bytes")).as_py())
            each = samples_a_tar(settings, sizes[number], total, size)
            path = f"{side}/{aspect}"
            buckets.append(Bucket(side, number, path, strata, sums.tolist(), tars, each))
            tars += -(-total // each)
            partitions.append(mine.column("partition").to_numpy())
            columns = [np.full(len(count), side), np.full(len(count), number), stratum, before]
            orders.append(
                pa.table(
                    [pa.array(c).cast(f.type) for c, f in zip(columns, ORDER_SCHEMA, strict=True)],
                    schema=ORDER_SCHEMA,
                )
            )
    rows = pa.concat_tables(orders)
    return (rows, np.concatenate(partitions)), Totals(kept, tars, buckets, cut)


def samples_a_tar(settings: ShardSettings, size: tuple[int, int], count: int, total: int) -> int:
    """Returns the number of samples per tar of a bucket.

    Args:
        settings: How the training set is made.
        size: Width and height of the bucket.
        count: Number of records in the bucket.
        total: Total bytes of their original files.
    """
    each = bytes_of(settings, size)
    if settings.format == "original":
        each = max(each, total / max(count, 1))
    return max(1, min(settings.samples_per_tar, int(settings.bytes_per_tar / each)))
