"""The report's queries about captions, training sets and buckets; others are in `queries`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.states import KEPT
from nucleus_data.hashing import keyed_sql
from nucleus_data.pages.queries import Decision, examples
from nucleus_data.pages.survivors import EXAMPLES
from nucleus_data.pages.tables import RECORDS, Rows, Tables
from nucleus_data.sets.layout import LEFT_OUT, MANIFEST, SetFolder
from nucleus_data.sql import literal

CAPTIONS = "caption."
SOURCE_CAPTION = '"source.caption"'


@dataclass(frozen=True)
class Variant:
    """Sums of a caption table, and what made it; there are several names only in mixed tables.

    Attributes:
        name: The variant.
        captions: Number of rows with a text.
        failed: Number of rows without a text, because of a final failure.
        retryable: Number of records with a retryable failure.
        cut: Number of captions that reached their token limit.
        words: Mean number of words per caption; None without captions.
        models: Names of models, sorted.
        engines: Names and versions of engines, sorted.
        sources: Sources of captions, such as `synthesized`, sorted.
        prompts: Names of prompts, sorted.
    """

    name: str
    captions: int
    failed: int
    retryable: int
    cut: int
    words: float | None
    models: Sequence[str]
    engines: Sequence[str]
    sources: Sequence[str]
    prompts: Sequence[str]


@dataclass(frozen=True)
class Caption:
    """A caption of a shown record, from one variant."""

    variant: str
    text: str | None
    source: str | None
    model: str | None
    prompt: str | None
    engine: str | None
    finish_reason: str | None
    tokens: int | None
    error: str | None


@dataclass(frozen=True)
class Bucket:
    """One resolution and aspect of a training set."""

    resolution: str
    aspect: str
    width: int
    height: int
    samples: int
    tars: int
    size: int


def variants(tables: Tables) -> list[Variant]:
    """Returns the sums of all caption tables that have rows or failures, ordered by name."""
    sums: dict[str, Counter[str]] = {}
    named: dict[str, list[set[Any]]] = {}
    for answer in tables.each(_variants):
        for name, (counts, *names) in answer.items():
            sums.setdefault(name, Counter()).update(counts)
            known = named.setdefault(name, [set() for _ in names])
            for values, more in zip(known, names, strict=True):
                values.update(more)
    return [_variant(name, sums[name], named[name]) for name in sorted(sums)]


def _variant(name: str, sums: Counter[str], named: Sequence[set[Any]]) -> Variant:
    # Imported captions may have no model; None is sorted last.
    models, engines, sources, prompts = (
        sorted(names, key=lambda name: (name is None, name or "")) for names in named
    )
    return Variant(
        name=name.removeprefix(CAPTIONS),
        captions=sums["captions"],
        failed=sums["failed"],
        retryable=sums["retryable"],
        cut=sums["cut"],
        words=_mean(sums["words"], sums["texts"]),
        models=models,
        engines=engines,
        sources=sources,
        prompts=prompts,
    )


def _variants(tables: Tables) -> dict[str, list[Any]]:
    """Returns caption table -> its sums over some shards, and the names of what made it."""
    answer: dict[str, list[Any]] = {}
    for name in tables.tried(CAPTIONS):
        ((retryable,),) = tables.rows(f"select count(*) from {tables.retryable(name)}")
        sums = {"retryable": retryable}
        if name not in tables:
            answer[name] = [sums, *([] for _ in range(4))]
            continue
        ((captions, failed, cut, words, texts, *names),) = tables.rows(
            f"""select count(*) filter (error is null), count(*) filter (error is not null),
                       count(*) filter (error is null and finish_reason = 'length'),
                       sum({_words("caption")}) filter (error is null),
                       count(caption) filter (error is null),
                       {_names("model")}, {_names("concat_ws(' ', engine, engine_version)")},
                       {_names("source")}, {_names("prompt")}
                from {tables.sql(name)}"""
        )
        sums |= {"captions": captions, "failed": failed, "cut": cut}
        answer[name] = [sums | {"words": int(words or 0), "texts": texts}, *names]
    return answer


def source_captions(tables: Tables) -> tuple[int, float | None]:
    """Returns how many records have an upstream caption, and its mean number of words."""
    count = words = 0
    for records, more in tables.each(_source_captions):
        count, words = count + records, words + more
    return count, _mean(words, count)


def _source_captions(tables: Tables) -> tuple[int, int]:
    if RECORDS not in tables or "source.caption" not in tables.columns(RECORDS):
        return 0, 0
    ((count, words),) = tables.rows(
        f"select count(*), sum({_words(SOURCE_CAPTION)}) from {tables.sql(RECORDS)} "
        f"where trim(cast({SOURCE_CAPTION} as varchar)) <> ''"
    )
    return count, int(words or 0)


def _mean(total: int, count: int) -> float | None:
    return total / count if count else None


def captioned_examples(tables: Tables, limit: int) -> list[Decision]:
    """Returns some kept records, by a keyed hash of the id, those with captions of ours first."""
    if not tables.names(CAPTIONS):
        return examples(tables, KEPT, None, limit)
    chosen: Rows = []
    for rows in tables.each(_captioned, limit):
        chosen = sorted([*chosen, *rows], key=lambda row: (row[0], row[1], row[4]))[:limit]
    return [
        Decision(shard, row, key, KEPT, [], {}, None, retryable=False)
        for _, _, shard, row, key in chosen
    ]


def _captioned(tables: Tables, limit: int) -> Rows:
    """Returns kept records of some shards: whether captions are missing, hash, shard, row, id."""
    if "selection" not in tables:
        return []
    captioned = " union ".join(
        f"select shard, row from {tables.sql(name)} where error is null"
        for name in tables.names(CAPTIONS)
    )
    captioned = captioned or "select 0 as shard, 0 as row where false"
    return [
        *tables.rows(
            f"""select c.shard is null as without, {keyed_sql(EXAMPLES, "s.id")} as hash,
                       s.shard, s.row, s.id from {tables.sql("selection")} s
                left join ({captioned}) c on s.shard = c.shard and s.row = c.row
                where s.state = 'kept' order by without, hash, s.id limit ?""",
            [limit],
        )
    ]


def captions(tables: Tables, shown: Sequence[Decision]) -> dict[str, list[Caption]]:
    """Returns id -> captions of all variants, for the shown records."""
    by_id: dict[str, list[Caption]] = {decision.id: [] for decision in shown}
    if not shown:
        return by_id
    tables = tables.near({d.shard for d in shown}, *tables.names(CAPTIONS))
    shards = ", ".join(str(shard) for shard in sorted({d.shard for d in shown}))
    ids = ", ".join(literal(d.id) for d in shown)
    for name in tables.names(CAPTIONS):
        for key, *values in tables.rows(
            "select id, caption, source, model, prompt, concat_ws(' ', engine, engine_version), "
            f"finish_reason, tokens, error from {tables.sql(name)} "
            f"where shard in ({shards}) and id in ({ids}) order by id"
        ):
            by_id[key].append(Caption(name.removeprefix(CAPTIONS), *values))
    return by_id


def buckets(corpus: Corpus, training_set: str) -> list[Bucket] | None:
    """Returns the buckets of a training set, by resolution and aspect; None if not published."""
    folder = SetFolder(corpus.store, training_set)
    if not folder.published:
        return None
    rows = _read(
        corpus,
        folder.name(MANIFEST),
        "select cast(resolution as varchar), cast(aspect as varchar), min(width), min(height), "
        "cast(sum(samples) as bigint), count(*), cast(sum(bytes) as bigint) from {} group by 1, 2 "
        "order by min(width) * min(height) // 10000, min(width) / min(height), 1, 2",
    )
    rows.sort(key=lambda row: (len(row[0]), row[0]))
    return [Bucket(*row) for row in rows]


def left_out(corpus: Corpus, training_set: str) -> list[tuple[str, int, list[str]]] | None:
    """Returns reason, count and some ids of the kept records that a training set leaves out.

    None if the set has no such list.
    """
    name = SetFolder(corpus.store, training_set).name(LEFT_OUT)
    if name in corpus.store.left_out or not corpus.store.exists(name):
        return None
    return _read(
        corpus,
        name,
        "select reason, count(*), min(id, 3) from {} group by 1 order by 2 desc, 1",
    )


def sides(corpus: Corpus, training_set: str) -> int:
    """Returns how many resolutions a training set has; a record is in each, or left out of it."""
    folder = SetFolder(corpus.store, training_set)
    resolutions = {tar.resolution for tar in folder.manifest()}
    name = folder.name(LEFT_OUT)
    if name not in corpus.store.left_out and corpus.store.exists(name):
        rows = _read(corpus, name, "select distinct resolution from {}")
        resolutions |= {side for (side,) in rows}
    return len(resolutions)


def filling(tables: Tables) -> list[tuple[str, list[tuple[str, int]]]]:
    """Counts kept records by curriculum bucket, from B1 on, and by tier; empty without buckets."""
    counts: Counter[tuple[str | None, str | None]] = Counter()
    for rows in tables.each(_filling):
        counts.update({(bucket, tier): count for bucket, tier, count in rows})
    by_bucket: dict[str, list[tuple[str, int]]] = {}
    for bucket, tier in sorted(counts, key=_by_bucket):
        by_bucket.setdefault(bucket or "none", []).append((tier or "none", counts[bucket, tier]))
    return list(by_bucket.items())


def _by_bucket(place: tuple[str | None, str | None]) -> tuple[Any, ...]:
    """Sort key: B2 comes before B10, no bucket comes last, and no tier comes first."""
    bucket, tier = place
    return bucket is None, len(bucket or ""), bucket or "", tier is not None, tier or ""


def _filling(tables: Tables) -> Rows:
    if "selection" not in tables or "curriculum" not in tables.columns("selection"):
        return []
    return [
        *tables.rows(
            f"select curriculum, tier, count(*) from {tables.sql('selection')} "
            "where state = 'kept' group by curriculum, tier"
        )
    ]


def _words(column: str) -> str:
    return f"len(regexp_split_to_array(trim(cast({column} as varchar)), '\\s+'))"


def _names(expression: str) -> str:
    return f"coalesce(list(distinct {expression}) filter (error is null), [])"


def _read(corpus: Corpus, name: str, sql: str) -> list[tuple[Any, ...]]:
    source = f"read_parquet({literal(corpus.store.url(name))})"
    return corpus.connection().execute(sql.format(source)).fetchall()
