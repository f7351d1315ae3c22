"""Planning a training set on metadata alone: id to resolution, aspect bucket, tar and position.

The order inside a bucket is that of a keyed hash of the ids, so every tar is a representative
sample of its bucket and the first tars are a smaller data set. A plan is one Parquet file an output
tar (`sets.layout`).

A curriculum bucket may have a cap: of what the selection drew into it, the first by the same keyed
order go in, and the others are left out, with the bucket's name in their reason.
"""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.caption_sets import SOURCE, CaptionSet, labels
from nucleus_data.corpus.states import KEPT
from nucleus_data.hashing import keyed_sql, sample_sql
from nucleus_data.sets.buckets import aspect_sql, bucket_size
from nucleus_data.sets.layout import LEFT_OUT_SCHEMA, PLACED_SCHEMA, PLAN_SCHEMA, PlannedTar
from nucleus_data.stages.select.check import upstream_columns
from nucleus_data.stages.shard.settings import ShardSettings

# Why a kept record is in no tar.
NO_CAPTION = "no_caption"
OVER_CAP = "over_cap"  # with the bucket's name after it: over_cap:B1


def plan_query(
    corpus: Corpus,
    tables: Mapping[str, str],
    settings: ShardSettings,
    captions: Sequence[CaptionSet],
    *,
    placed: bool = False,
    limit: int | None = None,
    sample: float = 1.0,
) -> str:
    """SQL whose rows are the kept records: metadata, bucket, captions, and the keyed order.

    `reason` is why a record is left out, NULL if it is not.

    Args:
        corpus: The corpus.
        tables: Config hash of every table that is read.
        settings: How the training set is made.
        captions: What its `captions` name.
        placed: Whether the selection has curriculum buckets; tier and bucket are then there too.
        limit: Only the first so many records of the keyed order; None for all.
        sample: Only this share of the records, chosen by a keyed hash of their ids.
    """

    def source(name: str) -> str:
        return corpus.at(name, tables[name]).sql()

    has_caption = "source.caption" in upstream_columns(corpus)
    texts, names, joins = [], [], []
    for i, (one, name) in enumerate(zip(captions, labels(captions), strict=True)):
        made = corpus.at(one.table, one.config_hash)
        if one.variant == SOURCE:
            text, origin = (
                ("nullif(trim(r.\"source.caption\"), '')" if has_caption else "NULL"),
                "'web'",
            )
        elif made.part_names():
            text, origin = f"c{i}.caption", f"c{i}.source || ':{name}'"
            joins.append(f"LEFT JOIN {made.sql()} c{i} USING (shard, row)")
        else:
            text, origin = "NULL", "NULL"
        texts.append(f"CAST({text} AS VARCHAR)")
        names.append(f"CASE WHEN {text} IS NOT NULL THEN {origin} END")
    present = "lambda x: x IS NOT NULL"
    chosen = f"WHERE {sample_sql(sample)}"
    capped = f"LIMIT {limit}" if limit is not None else ""
    marks = "s.tier, s.curriculum, " if placed else ""
    query = f"""
      SELECT *, CASE WHEN len(captions) = 0 THEN '{NO_CAPTION}' END AS reason FROM (
        SELECT s.id, s.shard, s.row, r.file, r."offset", r.size, r.sha256, f.width, f.height,
          {marks}list_filter(CAST([{", ".join(texts)}] AS VARCHAR[]), {present}) AS captions,
          list_filter(CAST([{", ".join(names)}] AS VARCHAR[]), {present}) AS caption_sources,
          {aspect_sql(settings.aspects, "f.width", "f.height")} AS aspect,
          {keyed_sql(f"shard:{settings.seed}:", "s.id")} AS keyed
        FROM {source("selection")} s JOIN {source("records")} r USING (shard, row)
          JOIN {source("inspect.file")} f USING (shard, row) {" ".join(joins)}
        WHERE s.state = '{KEPT}'
      ) {chosen} ORDER BY keyed, id {capped}"""
    caps = settings.cap_of()
    return _capped(corpus, query, caps) if placed and caps else query


def _capped(corpus: Corpus, query: str, caps: Mapping[str, int]) -> str:
    """The query with a reason for each record that is over the cap of its bucket."""
    most = " ".join(f"WHEN '{name}' THEN {count}" for name, count in caps.items())
    # Where the order of each bucket is cut: at the last record that goes in, if there is one.
    cuts = corpus.connection().sql(
        f"""SELECT curriculum, coalesce(max(keyed) FILTER (place <= most), '') FROM (
              SELECT curriculum, keyed, CASE curriculum {most} END AS most,
                row_number() OVER (PARTITION BY curriculum ORDER BY keyed, id) AS place
              FROM ({query}) WHERE reason IS NULL)
            GROUP BY 1 HAVING count(*) > any_value(most) ORDER BY 1"""
    )
    over = " ".join(
        f"WHEN curriculum = '{name}' AND keyed > '{cut}' THEN '{OVER_CAP}:{name}'"
        for name, cut in cuts.fetchall()
    )
    if not over:
        return query
    return f"SELECT * REPLACE (coalesce(reason, CASE {over} END) AS reason) FROM ({query})"


def plan_tars(
    corpus: Corpus, query: str, settings: ShardSettings, batch: int = 10_000
) -> Iterator[PlannedTar]:
    """Output tars in order: by resolution, aspect, then keyed order; memory is one tar's rows."""
    number = 0
    placed = "curriculum" in corpus.connection().sql(query).columns
    schema = PLACED_SCHEMA if placed else PLAN_SCHEMA
    for resolution in settings.resolutions:
        area = resolution * resolution
        # A picture that is too small for every resolution is still in the smallest one.
        enough = "true" if resolution == min(settings.resolutions) else f"width * height >= {area}"
        for aspect in settings.aspects:
            size = bucket_size(resolution, aspect, settings.multiple)
            relation = corpus.connection().sql(
                f"SELECT {', '.join(_quoted(f.name) for f in schema)} FROM ({query}) "
                f"WHERE aspect = '{aspect}' AND {enough} AND reason IS NULL ORDER BY keyed, id"
            )
            rows = relation.to_arrow_reader(batch)
            for j, table in enumerate(_tars(rows, settings, schema)):
                path = f"{resolution}/{aspect}/{j:06d}.tar"
                yield PlannedTar(number, path, resolution, aspect, *size, table)
                number += 1


def left_out(corpus: Corpus, query: str) -> pa.Table:
    """Kept records that are in no tar, and why."""
    rows = corpus.connection().sql(
        f"SELECT id, reason FROM ({query}) WHERE reason IS NOT NULL ORDER BY id"
    )
    return rows.to_arrow_table().cast(LEFT_OUT_SCHEMA)


def left_out_words(rows: pa.Table) -> str:
    """How many kept records are left out, and why, for people."""
    counts = {item["values"]: item["counts"] for item in rows["reason"].value_counts().to_pylist()}
    reasons = {}
    for reason, count in counts.items():
        name, _, bucket = reason.partition(":")
        words = f"over the cap of {bucket}" if name == OVER_CAP else name.replace("_", " ")
        reasons[len(bucket), words] = count
    one = len(reasons) < 2
    said = [words if one else f"{count:,} {words}" for (_, words), count in sorted(reasons.items())]
    return f"{rows.num_rows:,} kept records left out ({', '.join(said) or 'no caption'})"


def _tars(
    batches: Iterator[pa.RecordBatch], settings: ShardSettings, schema: pa.Schema
) -> Iterator[pa.Table]:
    """Rows cut into tars, by number of samples and by bytes; rows keep their order."""
    held: list[pa.Table] = []
    count, size = 0, 0
    for batch in batches:
        table = pa.Table.from_batches([batch]).cast(schema)
        start = 0
        for i, bytes_ in enumerate(table.column("size").to_pylist()):
            full = count >= settings.samples_per_tar or size + bytes_ > settings.bytes_per_tar
            # An image larger than `bytes_per_tar` has a tar of its own.
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
