"""Reads the kept records of a shard, and computes bucket and crop of each from its metadata."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.states import KEPT
from nucleus_data.corpus.tables import Table
from nucleus_data.hashing import SAMPLE, order_unit
from nucleus_data.runner.stored import read_columns
from nucleus_data.sets.buckets import bucket_size, crops, nearest
from nucleus_data.sets.columns import PLACED
from nucleus_data.sets.planned import PLAN_SCHEMA
from nucleus_data.sets.provenance import LICENCE, URL
from nucleus_data.stages.shard.pictures import PLAIN, is_plain
from nucleus_data.stages.shard.settings import ShardSettings

# Why a record is not in a resolution.
TOO_SMALL = "too_small"
CROP_LOSS = "crop_loss"
OVER_CAP = "over_cap"  # with the curriculum bucket's name after it: over_cap:B1

SELECTION, MEASURED = "selection", "inspect.file"
# The columns of planned samples, plus those by which records are chosen and ordered.
CHOSEN_SCHEMA = pa.schema(
    [
        *(field for field in PLAN_SCHEMA if field.name != "crop"),
        pa.field("tier", pa.string()),
        pa.field("curriculum", pa.string()),
        pa.field("captioned", pa.bool_()),  # it came with a caption
        # The two halves of a keyed hash of the id: for the order, and for the place of the crop.
        pa.field("keyed", pa.uint64()),
        pa.field("place", pa.uint64()),
    ]
)
_COPIED = ("offset", "size", "sha256", "source", "key")

Numbers = NDArray[Any]


def kept_records(
    corpus: Corpus, tables: Mapping[str, str], shard: int, settings: ShardSettings, sample: float
) -> pa.Table:
    """Reads the kept records of a shard, as `CHOSEN_SCHEMA`, in row order.

    Args:
        corpus: The corpus.
        tables: Config hash of every table that is read.
        shard: The image shard.
        settings: How the training set is made.
        sample: Share of the records to take, chosen by a keyed hash of their ids.
    """

    def open_table(name: str) -> Table:
        return corpus.at(name, tables[name])

    decided = open_table(SELECTION).read(shard, ["row", "id", "state", *PLACED])
    if decided is None:
        return CHOSEN_SCHEMA.empty_table()
    decided = decided.filter(pc.equal(decided.column("state"), KEPT))
    ids = decided.column("id").to_pylist()
    if sample < 1:
        chosen = [order_unit(SAMPLE, ident) < sample for ident in ids]
        decided = decided.filter(pa.array(chosen, pa.bool_()))
        ids = decided.column("id").to_pylist()
    paths = [f"records:{name}" for name in (*_COPIED, *URL, *LICENCE, "source.caption")]
    # These columns are needed only if originals may be stored as they are.
    facts = PLAIN if settings.format == "original" else ()
    paths += [f"{MEASURED}:{name}" for name in ("width", "height", *facts)]
    found = read_columns(open_table, shard, paths, decided.column("row").to_numpy())

    def column(*names: str) -> Any:
        return pc.coalesce(*(_text(found.column(f"records:{name}")) for name in names))

    hashed = np.frombuffer(
        b"".join(_digest(f"shard:{settings.seed}:{ident}") for ident in ids), ">u8"
    ).reshape(-1, 2)
    caption = pc.utf8_trim_whitespace(column("source.caption"))
    columns = {
        "id": decided.column("id"),
        "shard": pa.array(np.full(len(ids), shard), pa.int32()),
        "row": decided.column("row"),
        **{name: found.column(f"records:{name}") for name in _COPIED},
        "url": column(*URL),
        "licence": column(*LICENCE),
        "original_width": found.column(f"{MEASURED}:width"),
        "original_height": found.column(f"{MEASURED}:height"),
        "plain": pa.array(_plain(found)) if facts else None,
        **{n: decided.column(n) if n in decided.column_names else None for n in PLACED},
        "captioned": pc.fill_null(pc.not_equal(caption, ""), False),
        "keyed": hashed[:, 0].astype(np.uint64),
        "place": hashed[:, 1].astype(np.uint64),
    }
    empty = pa.nulls(len(ids))
    return pa.table({n: empty if c is None else c for n, c in columns.items()}).cast(CHOSEN_SCHEMA)


def aspect_sizes(settings: ShardSettings, resolution: int) -> list[tuple[int, int]]:
    """Returns the width and height of each aspect bucket at a resolution."""
    return [bucket_size(resolution, a, settings.multiple) for a in settings.aspect_names()]


def placed(
    records: pa.Table, settings: ShardSettings, resolution: int
) -> tuple[Numbers, Numbers, Numbers]:
    """Assigns records to buckets at a resolution.

    Args:
        records: N records, as `CHOSEN_SCHEMA`.
        settings: How the training set is made.
        resolution: One of the settings' resolutions.

    Returns:
        The number of each record's aspect bucket, int64[N]; the reason why it is left out, empty if
        it is not, str[N]; and crops (left, top, right, bottom) in pixels, int64[N, 4].
    """
    width = records.column("original_width").to_numpy()
    height = records.column("original_height").to_numpy()
    sizes = aspect_sizes(settings, resolution)
    bucket = nearest(width, height, sizes)
    target = np.array(sizes)[bucket].reshape(-1, 2)
    place: tuple[Any, Any] = (0.5, 0.5)
    if settings.crop == "random":
        hashed = records.column("place").to_numpy()
        place = ((hashed >> np.uint64(32)) / 2**32, (hashed & np.uint64(0xFFFFFFFF)) / 2**32)
    boxes = crops(width, height, (target[:, 0], target[:, 1]), place)
    sides = boxes[:, 2:] - boxes[:, :2]
    lost = 1 - sides.prod(axis=1) / (width * height.astype(np.int64))
    # Nothing is upscaled, so the crop has to be at least as large as the bucket.
    small = (sides < target).any(axis=1)
    reason = np.where(small, TOO_SMALL, np.where(lost > settings.crop_loss, CROP_LOSS, ""))
    return bucket, reason, boxes


def with_crops(records: pa.Table, boxes: Numbers) -> pa.Table:
    """Adds crops to records, and returns them as `PLAN_SCHEMA`."""
    flat = pa.array(np.ascontiguousarray(boxes, np.int32).reshape(-1))
    crop = pa.FixedSizeListArray.from_arrays(flat, 4)
    return records.append_column("crop", crop).select(PLAN_SCHEMA.names).cast(PLAN_SCHEMA)


def stratum_names(records: pa.Table) -> pa.ChunkedArray:
    """Returns the stratum of each record; every tar has a proportional share of each stratum."""
    parts = [pc.fill_null(records.column(n), "") for n in ("source", *PLACED)]
    parts.append(pc.if_else(records.column("captioned"), "captioned", ""))
    return pc.binary_join_element_wise(*parts, "\x1f")


def _digest(text: str) -> bytes:
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()


def _plain(found: pa.Table) -> list[bool | None]:
    """Returns whether each original is plain (`is_plain`); None if not measured."""
    rows = zip(*(found.column(f"{MEASURED}:{name}").to_pylist() for name in PLAIN), strict=True)
    return [None if None in row else is_plain(**dict(zip(PLAIN, row, strict=True))) for row in rows]


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Casts a column to strings; NULL for lists and structs."""
    if pa.types.is_nested(column.type):
        return pa.chunked_array([pa.nulls(len(column), pa.string())])
    return column.cast(pa.string())
