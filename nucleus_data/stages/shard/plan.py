"""Planning a training set on metadata alone: id to resolution, aspect bucket, tar and position.

The order inside a bucket is that of a keyed hash of the ids, so every tar is a representative
sample of its bucket and the first tars are a smaller data set. A plan is one Parquet file an output
tar, in `_plan/` of the set.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table, encode_part
from nucleus_data.hashing import sample_sql
from nucleus_data.sets.buckets import SIZES_1024, aspect_sql, bucket_size


class ShardSettings(BaseModel):
    """How training shards are made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        "train", pattern=r"^[A-Za-z0-9._-]+$", description="Name of the training set."
    )
    resolutions: tuple[int, ...] = Field(
        (256, 512, 1024),
        min_length=1,
        description="Sides in pixels. A picture is in each resolution that it is large enough "
        "for, and in the smallest one always.",
    )
    aspects: tuple[str, ...] = Field(
        tuple(SIZES_1024), min_length=1, description="Aspect buckets, for example 1x1, 16x9."
    )
    multiple: int = Field(
        16, ge=1, description="Sides of buckets are multiples of this: VAE factor times patch size."
    )
    samples_per_tar: int = Field(10_000, ge=1, description="Most samples in a training shard.")
    bytes_per_tar: int = Field(
        500_000_000, ge=1, description="Most image bytes in a training shard."
    )
    captions: tuple[str, ...] = Field(
        ("source", "short", "long"),
        description="Captions of a sample, lowest to highest quality: "
        "'source' (the upstream one) or a variant.",
    )
    seed: int = Field(0, description="Seed of the order.")

    @field_validator("aspects")
    @classmethod
    def _known(cls, aspects: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [a for a in aspects if a not in SIZES_1024]
        if unknown:
            raise ValueError(f"has {unknown[0]!r}; allowed: {', '.join(SIZES_1024)}")
        return aspects

    @field_validator("resolutions")
    @classmethod
    def _positive(cls, resolutions: tuple[int, ...]) -> tuple[int, ...]:
        if min(resolutions) < 1:
            raise ValueError(f"has {min(resolutions)}; allowed: sides of 1 pixel or more")
        return resolutions

    @field_validator("aspects", "resolutions", "captions")
    @classmethod
    def _once(cls, items: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(items)) != len(items):
            raise ValueError("has one entry twice; allowed: each once")
        return items


PLAN_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("shard", pa.int32()),
        pa.field("row", pa.int32()),
        pa.field("file", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int64()),
        pa.field("sha256", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("captions", pa.list_(pa.string())),
        pa.field("caption_sources", pa.list_(pa.string())),
    ]
)
LEFT_OUT_SCHEMA = pa.schema([pa.field("id", pa.string()), pa.field("reason", pa.string())])


@dataclass(frozen=True)
class PlannedTar:
    """One output tar: its path below the set, and its bucket."""

    number: int
    path: str
    resolution: int
    aspect: str
    width: int
    height: int
    rows: pa.Table


def plan_query(
    corpus: Corpus,
    tables: Mapping[str, str],
    settings: ShardSettings,
    *,
    limit: int | None = None,
    sample: float = 1.0,
) -> str:
    """SQL of one row a kept record: metadata, bucket, captions, and the keyed order."""

    def source(name: str) -> str:
        return corpus.at(name, tables[name]).sql()

    has_caption = "source.caption" in upstream_columns(corpus)
    texts, names, joins = [], [], []
    for i, name in enumerate(settings.captions):
        if name == "source":
            text, origin = (
                ("nullif(trim(r.\"source.caption\"), '')" if has_caption else "NULL"),
                "'web'",
            )
        elif Table(corpus.store, f"caption.{name}", tables[f"caption.{name}"]).part_names():
            text, origin = f"c{i}.caption", f"c{i}.source || ':{name}'"
            joins.append(f"LEFT JOIN {source(f'caption.{name}')} c{i} USING (shard, row)")
        else:
            text, origin = "NULL", "NULL"
        texts.append(f"CAST({text} AS VARCHAR)")
        names.append(f"CASE WHEN {text} IS NOT NULL THEN {origin} END")
    present = "lambda x: x IS NOT NULL"
    chosen = f"WHERE {sample_sql(sample)}"
    capped = f"LIMIT {limit}" if limit is not None else ""
    return f"""
      SELECT * FROM (
        SELECT s.id, s.shard, s.row, r.file, r."offset", r.size, r.sha256, f.width, f.height,
          list_filter(CAST([{", ".join(texts)}] AS VARCHAR[]), {present}) AS captions,
          list_filter(CAST([{", ".join(names)}] AS VARCHAR[]), {present}) AS caption_sources,
          {aspect_sql(settings.aspects, "f.width", "f.height")} AS aspect,
          md5('shard:{settings.seed}:' || s.id) AS keyed
        FROM {source("selection")} s JOIN {source("records")} r USING (shard, row)
          JOIN {source("inspect.file")} f USING (shard, row) {" ".join(joins)}
        WHERE s.state = 'kept'
      ) {chosen} ORDER BY keyed, id {capped}"""


def upstream_columns(corpus: Corpus) -> dict[str, pa.DataType]:
    """Name (`source.NAME`) -> type of the upstream columns of all records, sorted.

    They are read from the parts' schemas.
    """
    if not corpus.records.part_names():
        return {}
    schema = corpus.table("records").limit(0).to_arrow_table().schema
    names = sorted(n for n in schema.names if n.startswith("source."))
    return {name: schema.field(name).type for name in names}


def plan_tars(
    corpus: Corpus, query: str, settings: ShardSettings, batch: int = 10_000
) -> Iterator[PlannedTar]:
    """Output tars in order: by resolution, aspect, then keyed order; memory is one tar's rows."""
    number = 0
    for resolution in settings.resolutions:
        area = resolution * resolution
        enough = "true" if resolution == min(settings.resolutions) else f"width * height >= {area}"
        for aspect in settings.aspects:
            size = bucket_size(resolution, aspect, settings.multiple)
            relation = corpus.connection().sql(
                f"SELECT {', '.join(_quoted(f.name) for f in PLAN_SCHEMA)} FROM ({query}) "
                f"WHERE aspect = '{aspect}' AND {enough} AND len(captions) > 0 ORDER BY keyed, id"
            )
            rows = relation.to_arrow_reader(batch)
            for j, table in enumerate(_tars(rows, settings)):
                path = f"{resolution}/{aspect}/{j:06d}.tar"
                yield PlannedTar(number, path, resolution, aspect, *size, table)
                number += 1


def left_out(corpus: Corpus, query: str) -> pa.Table:
    """Kept records that are in no tar, and why."""
    rows = corpus.connection().sql(
        f"SELECT id, 'no_caption' AS reason FROM ({query}) WHERE len(captions) = 0 ORDER BY id"
    )
    return rows.to_arrow_table().cast(LEFT_OUT_SCHEMA)


def encode_plan(tar: PlannedTar) -> bytes:
    """The plan of one tar as Parquet bytes; bucket and path are in the footer."""
    fields = {
        "path": tar.path,
        "resolution": str(tar.resolution),
        "aspect": tar.aspect,
        "width": str(tar.width),
        "height": str(tar.height),
    }
    return encode_part(tar.rows, fields)


def _tars(batches: Iterator[pa.RecordBatch], settings: ShardSettings) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    count, size = 0, 0
    for batch in batches:
        table = pa.Table.from_batches([batch]).cast(PLAN_SCHEMA)
        start = 0
        for i, bytes_ in enumerate(table.column("size").to_pylist()):
            full = count >= settings.samples_per_tar or size + bytes_ > settings.bytes_per_tar
            if count and full:
                yield pa.concat_tables([*held, table.slice(start, i - start)]).combine_chunks()
                held, count, size, start = [], 0, 0, i
            count += 1
            size += bytes_
        held.append(table.slice(start))
    if count:
        yield pa.concat_tables(held).combine_chunks()


def _quoted(name: str) -> str:
    return f'"{name}"'


def captions_of(settings: ShardSettings) -> Sequence[str]:
    """The caption tables that a training set reads."""
    return [f"caption.{name}" for name in settings.captions if name != "source"]
