"""What the report asks about captions, sets, buckets and signals, in SQL as `queries` does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.states import KEPT
from nucleus_data.hashing import keyed_sql
from nucleus_data.pages.queries import EXAMPLES, Decision, Tables, examples, quoted
from nucleus_data.sets.layout import LEFT_OUT, MANIFEST, SetFolder

CAPTIONS = "caption."
SOURCE_CAPTION = '"source.caption"'
BINS = 36
FLOATS = ("FLOAT", "DOUBLE")
INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
KEYS = ("shard", "row", "id")
SKEWED = 12.0


@dataclass(frozen=True)
class Variant:
    """Sums of one caption table, and what made it (several names only if the table mixes them).

    Attributes:
        name: The variant.
        captions: Rows with a text.
        failed: Rows without a text.
        cut: Captions that reached their limit of tokens.
        words: Mean words a caption; None without captions.
        models: Names of models, sorted.
        engines: Names and versions of engines, sorted.
        sources: `synthesized`, …, sorted.
        prompts: Names of prompts, sorted.
    """

    name: str
    captions: int
    failed: int
    cut: int
    words: float | None
    models: Sequence[str]
    engines: Sequence[str]
    sources: Sequence[str]
    prompts: Sequence[str]


@dataclass(frozen=True)
class Caption:
    """One synthesized caption of a shown record."""

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


@dataclass(frozen=True)
class Signal:
    """The distribution of one signal: counts in equal bins, of all records and of the kept ones."""

    table: str
    name: str
    low: float
    high: float
    logarithmic: bool
    every: Sequence[int]
    kept: Sequence[int]


def variants(tables: Tables) -> list[Variant]:
    """The caption tables that have rows, by name."""
    found = []
    for name in tables.names(CAPTIONS):
        (row,) = tables.rows(
            f"""select count(*) filter (error is null), count(*) filter (error is not null),
                       count(*) filter (error is null and finish_reason = 'length'),
                       avg({_words("caption")}) filter (error is null),
                       {_names("model")}, {_names("concat_ws(' ', engine, engine_version)")},
                       {_names("source")}, {_names("prompt")}
                from {tables.sql(name)}"""
        )
        found.append(Variant(name.removeprefix(CAPTIONS), *row))
    return found


def source_captions(tables: Tables) -> tuple[int, float | None]:
    """How many records came with a caption, and its mean number of words."""
    if "records" not in tables or "source.caption" not in tables.columns("records"):
        return 0, None
    ((count, words),) = tables.rows(
        f"select count(*), avg({_words(SOURCE_CAPTION)}) from {tables.sql('records')} "
        f"where trim(cast({SOURCE_CAPTION} as varchar)) <> ''"
    )
    return count, words


def captioned_examples(tables: Tables, limit: int) -> list[Decision]:
    """Some kept records by a keyed hash of the id, those with synthesized captions first."""
    names = tables.names(CAPTIONS)
    if not names:
        return examples(tables, KEPT, None, limit)
    captioned = " union ".join(
        f"select shard, row from {tables.sql(name)} where error is null" for name in names
    )
    chosen = tables.rows(
        f"""select s.shard, s.row, s.id from {tables.sql("selection")} s
            left join ({captioned}) c on s.shard = c.shard and s.row = c.row
            where s.state = 'kept'
            order by c.shard is null, {keyed_sql(EXAMPLES, "s.id")}, s.id limit ?""",
        [limit],
    )
    return [
        Decision(shard, row, key, KEPT, [], {}, None, retryable=False) for shard, row, key in chosen
    ]


def captions(tables: Tables, shown: Sequence[Decision]) -> dict[str, list[Caption]]:
    """All variants of these records, by id."""
    found: dict[str, list[Caption]] = {decision.id: [] for decision in shown}
    if not shown:
        return found
    shards = ", ".join(str(shard) for shard in sorted({d.shard for d in shown}))
    ids = ", ".join(quoted(d.id) for d in shown)
    for name in tables.names(CAPTIONS):
        for key, *values in tables.rows(
            "select id, caption, source, model, prompt, concat_ws(' ', engine, engine_version), "
            f"finish_reason, tokens, error from {tables.sql(name)} "
            f"where shard in ({shards}) and id in ({ids}) order by id"
        ):
            found[key].append(Caption(name.removeprefix(CAPTIONS), *values))
    return found


def buckets(corpus: Corpus, training_set: str) -> list[Bucket] | None:
    """The filling of a training set, by resolution and aspect.

    None if it has no manifest: then it is not published.
    """
    folder = SetFolder(corpus.store, training_set)
    if not folder.published:
        return None
    found = _read(
        corpus,
        folder.name(MANIFEST),
        "select cast(resolution as varchar), cast(aspect as varchar), min(width), min(height), "
        "cast(sum(samples) as bigint), count(*), cast(sum(bytes) as bigint) from {} group by 1, 2 "
        "order by min(width) * min(height) // 10000, min(width) / min(height), 1, 2",
    )
    found.sort(key=lambda row: (len(row[0]), row[0]))
    return [Bucket(*row) for row in found]


def left_out(corpus: Corpus, training_set: str) -> list[tuple[str, int, list[str]]] | None:
    """Kept records that the training set does not hold: reason, count, some ids.

    None if it has no such list.
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
    """How many resolutions a training set has; a record is in each, or left out of it."""
    folder = SetFolder(corpus.store, training_set)
    found = {tar.resolution for tar in folder.manifest()}
    name = folder.name(LEFT_OUT)
    if name not in corpus.store.left_out and corpus.store.exists(name):
        found |= {side for (side,) in _read(corpus, name, "select distinct resolution from {}")}
    return len(found)


def filling(tables: Tables) -> list[tuple[str, list[tuple[str, int]]]]:
    """Kept records by curriculum bucket, from B1 on, each by quality tier; none without buckets."""
    if "selection" not in tables or "curriculum" not in tables.columns("selection"):
        return []
    found: dict[str, list[tuple[str, int]]] = {}
    for bucket, tier, count in tables.rows(
        f"select curriculum, tier, count(*) from {tables.sql('selection')} where state = 'kept' "
        "group by curriculum, tier "
        "order by len(curriculum) nulls last, curriculum, tier nulls first"
    ):
        found.setdefault(bucket or "none", []).append((tier or "none", count))
    return list(found.items())


def signals(tables: Tables) -> list[Signal]:
    """The distributions of all numeric columns of `inspect.*` and `embed.*`.

    Those of a few values are left out.
    """
    found = []
    for table in [*tables.names("inspect."), *tables.names("embed.")]:
        types = tables.columns(table)
        names = [n for n, kind in types.items() if kind in FLOATS + INTEGERS and n not in KEYS]
        if not names:
            continue
        finite = {
            name: f'case when isfinite(cast("{name}" as double)) then "{name}" end'
            for name in names
        }
        stats = ", ".join(
            f"min({c}), max({c}), avg({c}), min({c}) filter ({c} > 0)" for c in finite.values()
        )
        (row,) = tables.rows(f"select {stats} from {tables.sql(table)}")
        for i, (name, column) in enumerate(finite.items()):
            low, high, mean, positive = row[4 * i : 4 * i + 4]
            # A histogram of a flag or an orientation says nothing that a count would not.
            few = types[name] in INTEGERS and high is not None and high - low < 8
            if low is None or low == high or few:
                continue
            logarithmic = low >= 0 and high > SKEWED * mean
            if logarithmic:
                # Zeros have no logarithm, and one tiny value would stretch the whole axis.
                low = max(positive, high / 1e6)
            found.append(
                _histogram(tables, table, name, column, (float(low), float(high)), logarithmic)
            )
    return found


def _histogram(
    tables: Tables,
    table: str,
    name: str,
    column: str,
    limits: tuple[float, float],
    logarithmic: bool,
) -> Signal:
    """Counts a signal's values in `BINS` bins, of all records and of the kept ones."""
    low, high = limits
    value, first, last = "v", low, high
    if logarithmic:
        value, first, last = f"ln(greatest(v, {low!r}))", math.log(low), math.log(high)
    values = f"(select shard, row, cast({column} as double) as v from {tables.sql(table)})"
    if "selection" in tables:
        decisions = f"(select shard, row, state = 'kept' as k from {tables.sql('selection')})"
        joined = f"{values} left join {decisions} using (shard, row)"
        values = f"(select v, coalesce(k, false) as k from {joined})"
    else:
        values = f"(select v, false as k from {values})"
    place_of = f"floor(({value} - {first!r}) / {last - first!r} * {BINS})"
    every, kept = [0] * BINS, [0] * BINS
    for place, count, count_kept in tables.rows(
        f"select least({BINS - 1}, greatest(0, {place_of}))::int, count(*), count(*) filter (k) "
        f"from {values} where v is not null group by 1"
    ):
        every[place], kept[place] = count, count_kept
    return Signal(table, name, low, high, logarithmic, every, kept)


def _words(column: str) -> str:
    return f"len(regexp_split_to_array(trim(cast({column} as varchar)), '\\s+'))"


def _names(expression: str) -> str:
    return f"coalesce(list_sort(list(distinct {expression}) filter (error is null)), [])"


def _read(corpus: Corpus, name: str, sql: str) -> list[tuple[Any, ...]]:
    source = f"read_parquet({quoted(corpus.store.url(name))})"
    return corpus.connection().execute(sql.format(source)).fetchall()
