"""Planning a training set on metadata alone: id to resolution, aspect bucket, tar and position."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.sets.layout import LEFT_OUT_SCHEMA
from nucleus_data.sets.planned import PlannedTar
from nucleus_data.stages.shard.chosen import (
    OVER_CAP,
    aspect_sizes,
    kept_records,
    placed,
    stratum_names,
    with_crops,
)
from nucleus_data.stages.shard.order import indexes, offset_of
from nucleus_data.stages.shard.pictures import bytes_of
from nucleus_data.stages.shard.settings import ShardSettings


def all_kept(
    corpus: Corpus,
    tables: Mapping[str, str],
    settings: ShardSettings,
    limit: int | None,
    sample: float,
) -> pa.Table:
    """The kept records that the set is made of, in keyed order."""
    found = [kept_records(corpus, tables, s, settings, sample) for s in corpus.shards()]
    table = pa.concat_tables(found).combine_chunks()
    table = table.sort_by([("keyed", "ascending"), ("id", "ascending")])
    return table if limit is None else table.slice(0, limit)


def plan(records: pa.Table, settings: ShardSettings) -> tuple[list[PlannedTar], pa.Table]:
    """All tars, and which records are not in a resolution (`LEFT_OUT_SCHEMA`)."""
    at = {resolution: placed(records, settings, resolution) for resolution in settings.resolutions}
    fits = np.any([reason == "" for _, reason, _ in at.values()], axis=0)
    over = _over(records, settings, fits)
    tars: list[PlannedTar] = []
    out = []
    for resolution, (bucket, reason, boxes) in at.items():
        reason = np.where((reason == "") & (over != ""), over, reason)
        lost = np.flatnonzero(reason != "")
        out.append(
            pa.table(
                {
                    "id": records.column("id").take(pa.array(lost)),
                    "resolution": np.full(len(lost), resolution, np.int32),
                    "reason": pa.array(reason[lost].tolist(), pa.string()),
                }
            ).cast(LEFT_OUT_SCHEMA)
        )
        for number, (aspect, size) in enumerate(
            zip(settings.aspect_names(), aspect_sizes(settings, resolution), strict=True)
        ):
            mine = np.flatnonzero((reason == "") & (bucket == number))
            rows = with_crops(records.take(pa.array(mine)), boxes[mine])
            name = f"{resolution}/{aspect}"
            rows = rows.take(
                pa.array(_order(records.take(pa.array(mine)), settings.seed, name))
            ).combine_chunks()
            each = samples_a_tar(settings, size, len(mine), _bytes(rows))
            for j, start in enumerate(range(0, len(mine), each)):
                path = f"{name}/{j:06d}.tar"
                held = rows.slice(start, each)
                tars.append(PlannedTar(len(tars), path, resolution, aspect, *size, held))
    left = pa.concat_tables(out).sort_by([("id", "ascending"), ("resolution", "ascending")])
    return tars, left


def _bytes(rows: pa.Table) -> int:
    return int(pc.sum(rows.column("size")).as_py() or 0)


def samples_a_tar(settings: ShardSettings, size: tuple[int, int], count: int, total: int) -> int:
    """How many samples a tar of a bucket has.

    Args:
        settings: How the training set is made.
        size: Width and height of the bucket.
        count: How many records the bucket has.
        total: Bytes of their original files.
    """
    each = bytes_of(settings, size)
    if settings.format == "original":
        each = max(each, total / max(count, 1))
    return max(1, min(settings.samples_per_tar, int(settings.bytes_per_tar / each)))


def _order(records: pa.Table, seed: int, bucket: str) -> Any:
    """The order of records of a bucket, which are in keyed order."""
    names, stratum = np.unique(np.array(stratum_names(records), object), return_inverse=True)
    counts = np.bincount(stratum, minlength=len(names))
    rank = np.empty(len(stratum), np.int64)
    for number in range(len(names)):
        rank[stratum == number] = np.arange(counts[number])
    offsets = np.array([offset_of(seed, bucket, name) for name in names], np.int64)
    return np.argsort(indexes(stratum, rank, counts, offsets))


def _over(records: pa.Table, settings: ShardSettings, fits: Any) -> Any:
    """Why records are over the cap of their curriculum bucket; empty texts for the others."""
    names = np.array(pc.fill_null(records.column("curriculum"), "").to_pylist(), object)
    over = np.full(len(names), "", object)
    for name, most in settings.cap_of().items():
        mine = np.flatnonzero((names == name) & fits)
        over[mine[most:]] = f"{OVER_CAP}:{name}"
    return over


def left_out_words(rows: pa.Table) -> Iterator[str]:
    """How many records are not in which resolution, and why, for people."""
    counts: dict[tuple[int, str], int] = {}
    for row in rows.group_by(["resolution", "reason"]).aggregate([([], "count_all")]).to_pylist():
        counts[row["resolution"], row["reason"]] = row["count_all"]
    for resolution in sorted({resolution for resolution, _ in counts}):
        said = [
            f"{count:,} {reason_words(reason)}"
            for (at, reason), count in sorted(counts.items())
            if at == resolution
        ]
        yield f"  not at {resolution} pixels: {', '.join(said)}"


def reason_words(reason: str) -> str:
    """A reason for people: `over_cap:B1` is over the cap of B1."""
    name, _, more = reason.partition(":")
    if name == OVER_CAP:
        return f"over the cap of {more}"
    return f"{name.replace('_', ' ')}{f' ({more})' if more else ''}"
