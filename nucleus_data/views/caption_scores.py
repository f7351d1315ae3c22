"""Finds and compares stored scores and embeddings of caption sets (`score_captions`, `embed`)."""

from collections.abc import Iterator, Mapping
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.caption_sets import AT, CaptionSet
from nucleus_data.corpus.runs import plans
from nucleus_data.corpus.tables import Table, plain
from nucleus_data.views.caption_sums import SIDES, CaptionSums

SIMILARITY, COSINE = "similarity", "cosine"
LOWEST = {SIMILARITY: 0.0, COSINE: -1.0}


def score_table(
    corpus: Corpus, pins: Mapping[str, str], one: CaptionSet, kind: str
) -> Table | None:
    """Returns the table of a set's scores or embeddings that a run pinned; None if there is none.

    Args:
        corpus: The corpus.
        pins: Config hashes of the current run, which take precedence over those of earlier runs.
        one: The caption set.
        kind: `match` for scores, `caption` for embeddings.
    """
    for tables in (pins, *(plan.get("tables") for _, plan in plans(corpus.store))):
        if not isinstance(tables, dict | Mapping):
            continue
        for name in _names(tables, one, kind):
            if name in tables:
                table = corpus.at(name, str(tables[name]))
                if table.whole_parts():
                    return table
    return None


def _names(tables: Mapping[str, str], one: CaptionSet, kind: str) -> Iterator[str]:
    """Yields possible names of the table among a run's pins."""
    if not one.config_hash:
        yield "embed.match" if kind == "match" else "embed.text"
        return
    for name, hashed in tables.items():
        if plain(name) == one.table and hashed == one.config_hash:
            _, at, digits = name.partition(AT)
            yield f"embed.{kind}.{one.variant}{at}{digits}"


def similarity(
    corpus: Corpus, pins: Mapping[str, str], sets: tuple[CaptionSet, CaptionSet], sums: CaptionSums
) -> dict[str, Any] | None:
    """Compares the similarity of picture and caption, by the stored scores of both sets."""
    tables = [score_table(corpus, pins, one, "match") for one in sets]
    if tables[0] is None or tables[1] is None:
        lacking = [one.name for one, table in zip(sets, tables, strict=True) if table is None]
        return {"lacking": lacking}
    names = [_columns(sums, table) for table in tables if table]
    stems = ["caption" if not one.config_hash else one.variant for one in sets]
    for kind in (SIMILARITY, COSINE):
        columns = [f"{stem}_{kind}" for stem in stems]
        if all(column in have for column, have in zip(columns, names, strict=True)):
            return {"kind": kind, **_compared(sums, tables, columns, LOWEST[kind])}
    return {"lacking": [one.name for one in sets]}


def _compared(sums: CaptionSums, tables: Any, columns: list[str], low: float) -> dict[str, Any]:
    sources = [
        f'(SELECT shard, row, CAST("{column}" AS DOUBLE) AS score FROM {table.sql()})'
        for table, column in zip(tables, columns, strict=True)
    ]
    sums.connection.execute(
        f"CREATE OR REPLACE VIEW scores AS SELECT a.score AS first, b.score AS second "
        f"FROM pairs JOIN {sources[0]} a USING (shard, row) JOIN {sources[1]} b USING (shard, row) "
        "WHERE a.score IS NOT NULL AND b.score IS NOT NULL"
    )
    pairs, first, second, higher, lower = sums.one(
        "SELECT count(*), avg(first), avg(second), count(*) FILTER (second > first), "
        "count(*) FILTER (second < first) FROM scores"
    )
    return {
        "pairs": pairs,
        "mean": {"first": _rounded(first), "second": _rounded(second)},
        "higher": higher,
        "lower": lower,
        "low": low,
        "bins": {side: sums.spread("scores", side, low, 1.0) for side in SIDES},
    }


def text_vectors(
    corpus: Corpus, pins: Mapping[str, str], sets: tuple[CaptionSet, CaptionSet], sums: CaptionSums
) -> dict[str, Any] | None:
    """Compares both captions by the cosine of their embeddings; None if a set has none."""
    tables = [score_table(corpus, pins, one, "caption") for one in sets]
    if tables[0] is None or tables[1] is None:
        return None
    stems = ["text" if not one.config_hash else one.variant for one in sets]
    sources = []
    for table, stem in zip(tables, stems, strict=True):
        assert table is not None
        column = f"{stem}_embedding"
        if column not in _columns(sums, table):
            return None
        sources.append(f'(SELECT shard, row, CAST("{column}" AS FLOAT[]) AS v FROM {table.sql()})')
    sums.connection.execute(
        "CREATE OR REPLACE VIEW vectors AS SELECT CASE WHEN len(a.v) = len(b.v) "
        "THEN list_cosine_similarity(a.v, b.v) END AS cosine "
        f"FROM pairs JOIN {sources[0]} a USING (shard, row) JOIN {sources[1]} b USING (shard, row)"
    )
    pairs, mean = sums.one("SELECT count(cosine), avg(cosine) FROM vectors WHERE NOT isnan(cosine)")
    if not pairs:
        return None
    bins = sums.spread("vectors", "cosine", -1.0, 1.0)
    return {"pairs": pairs, "mean": _rounded(mean), "low": -1.0, "bins": bins}


def _columns(sums: CaptionSums, table: Table) -> set[str]:
    return {row[0] for row in sums.rows(f"DESCRIBE SELECT * FROM {table.sql()}")}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
