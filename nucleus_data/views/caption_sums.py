"""What two caption sets have in common and what not, in SQL: only sums and examples come back.

Words are runs of letters and digits, in lower case. The overlap of two captions is that of their
different words (Dice: twice those in both, over those in either), 1 where both are the same text.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.caption_sets import CaptionSet
from nucleus_data.hashing import keyed_sql

MEMORY_LIMIT = "2GB"
# An apostrophe (U+2019 too) or a hyphen inside a word is part of it; a quote is doubled in SQL.
_WORD = r"[\p{L}\p{M}\p{N}]+(?:[''\x{2019}-][\p{L}\p{M}\p{N}]+)*"
BINS = 20
SIDES = ("first", "second")
SHOWN_CHARACTERS = 4000
KINDS = ("different", "random", "only_first", "only_second")
ORDER = "captions diff"  # of the keyed order that chooses what is shown


class CaptionSums:
    """Two caption sets, joined by record in a database on the disk.

    Args:
        corpus: The corpus.
        sets: Both.
        folder: For the database and what it spills.

    Attributes:
        connection: The database. `sides` has a row a record; `pairs` one for each with two texts;
            `first_retryable` and `second_retryable` one for each caption that may come yet.
    """

    def __init__(self, corpus: Corpus, sets: Sequence[CaptionSet], folder: Path) -> None:
        config: dict[str, Any] = {
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": str(folder / "spill"),
        }
        self.connection = duckdb.connect(str(folder / "captions.duckdb"), config=config)
        if not corpus.store.local:
            self.connection.register_filesystem(corpus.store.fs)
        for one, name in zip(sets, SIDES, strict=True):
            self._view(corpus, one, name)
            self._view_retryable(corpus, one, name)
        self.connection.execute(
            """CREATE VIEW sides AS
                SELECT shard, row, coalesce(a.id, b.id) AS id, a.text AS first, b.text AS second,
                  a.error AS first_error, b.error AS second_error
                FROM first a FULL JOIN second b USING (shard, row)"""
        )
        self.connection.execute(
            f"""CREATE TABLE pairs AS
                SELECT shard, row, id, same, CASE WHEN same THEN 1.0
                  WHEN len(a) + len(b) = 0 THEN 0.0
                  ELSE 2.0 * len(list_intersect(a, b)) / (len(a) + len(b)) END AS overlap
                FROM (SELECT shard, row, id, first = second AS same,
                        list_distinct({_words("first")}) AS a,
                        list_distinct({_words("second")}) AS b
                      FROM sides WHERE first IS NOT NULL AND second IS NOT NULL)"""
        )

    def __enter__(self) -> "CaptionSums":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def _view(self, corpus: Corpus, one: CaptionSet, name: str) -> None:
        """Makes a view of one set, with a row for each of its table; `source` is of pictures."""
        table = corpus.at(one.table, one.config_hash) if one.config_hash else corpus.records
        columns = set()
        if table.whole_parts():
            described = self.connection.execute(f"DESCRIBE SELECT * FROM {table.sql()}")
            columns = {row[0] for row in described.fetchall()}
        text = "caption" if one.config_hash else '"source.caption"'
        if text.strip('"') not in columns:
            query = (
                "SELECT 0 AS shard, 0 AS row, '' AS id, '' AS text, '' AS error, "
                "'' AS finish_reason, ['']::VARCHAR[] AS checks WHERE false"
            )
        else:
            cut = "finish_reason" if "finish_reason" in columns else "NULL::VARCHAR"
            checks = "checks" if "checks" in columns else "NULL::VARCHAR[]"
            error = "error" if one.config_hash else "NULL::VARCHAR"
            chosen = "" if one.config_hash else "WHERE error IS NULL"
            query = (
                f"SELECT shard, row, id, nullif(trim(CAST({text} AS VARCHAR)), '') AS text, "
                f"{error} AS error, {cut} AS finish_reason, {checks} AS checks "
                f"FROM {table.sql()} {chosen}"
            )
        self.connection.execute(f"CREATE VIEW {name} AS {query}")

    def _view_retryable(self, corpus: Corpus, one: CaptionSet, name: str) -> None:
        """Makes a view of a set's failures that may pass, which lie beside its table."""
        table = corpus.at(one.table, one.config_hash) if one.config_hash else corpus.records
        if one.config_hash and table.failed.whole_parts():
            query = (
                f"SELECT shard, row, reason AS error FROM {table.failed.sql()} "
                f"WHERE (shard, row) NOT IN (SELECT (shard, row) FROM {name})"
            )
        else:
            query = "SELECT 0 AS shard, 0 AS row, '' AS error WHERE false"
        self.connection.execute(f"CREATE VIEW {name}_retryable AS {query}")

    def counts(self) -> dict[str, int]:
        """How many records have a caption in which set, and how many the same one."""
        names = (
            *("records", "first", "second", "both", "only_first", "only_second"),
            *("first_failed", "second_failed", "same", "same_but_case"),
        )
        row = self.one(
            """SELECT count(*) FILTER (first IS NOT NULL OR second IS NOT NULL),
                 count(first), count(second),
                 count(*) FILTER (first IS NOT NULL AND second IS NOT NULL),
                 count(*) FILTER (first IS NOT NULL AND second IS NULL),
                 count(*) FILTER (first IS NULL AND second IS NOT NULL),
                 count(first_error), count(second_error),
                 count(*) FILTER (first = second),
                 count(*) FILTER (first <> second AND lower(regexp_replace(first, '\\s+', ' ', 'g'))
                   = lower(regexp_replace(second, '\\s+', ' ', 'g')))
               FROM sides"""
        )
        return dict(zip(names, row, strict=True))

    def lengths(self) -> dict[str, dict[int, int]]:
        """Side -> words -> how many captions have so many."""
        return {
            side: dict(
                self.rows(
                    f"SELECT len({_words('text')}), count(*) FROM {side} "
                    "WHERE text IS NOT NULL GROUP BY 1 ORDER BY 1"
                )
            )
            for side in SIDES
        }

    def words(self, most: int) -> dict[str, Any]:
        """The words that more captions have after, and those that fewer have, of pairs alone."""
        self.connection.execute(
            f"""CREATE OR REPLACE TABLE words AS
                SELECT word, count(*) FILTER (NOT after) AS before, count(*) FILTER (after) AS after
                FROM (SELECT false AS after, unnest(list_distinct({_words("first")})) AS word
                      FROM sides WHERE first IS NOT NULL AND second IS NOT NULL
                      UNION ALL
                      SELECT true, unnest(list_distinct({_words("second")}))
                      FROM sides WHERE first IS NOT NULL AND second IS NOT NULL)
                GROUP BY word"""
        )
        found: dict[str, Any] = {}
        for name, sign in (("gained", ">"), ("lost", "<")):
            rows = self.rows(
                f"SELECT word, before, after FROM words WHERE after {sign} before "
                f"ORDER BY abs(after - before) DESC, word LIMIT {most}"
            )
            found[name] = [dict(zip(("word", "before", "after"), row, strict=True)) for row in rows]
        first, second, new, gone = self.one(
            "SELECT count(*) FILTER (before > 0), count(*) FILTER (after > 0), "
            "count(*) FILTER (before = 0), count(*) FILTER (after = 0) FROM words"
        )
        return {**found, "vocabulary": {"first": first, "second": second, "new": new, "gone": gone}}

    def overlap(self) -> dict[str, Any]:
        """The mean overlap of two captions of a picture, and how it spreads."""
        (mean,) = self.one("SELECT avg(overlap) FROM pairs")
        return {"mean": _rounded(mean), "bins": self.spread("pairs", "overlap", 0.0, 1.0)}

    def spread(self, table: str, column: str, low: float, high: float) -> list[int]:
        """How many values are in each of equal bins; those outside are in the first or the last."""
        place = f"CAST(floor(({column} - {low}) / {(high - low) / BINS}) AS INTEGER)"
        found = dict(
            self.rows(
                f"SELECT least(greatest({place}, 0), {BINS - 1}), count(*) FROM {table} "
                f"WHERE {column} IS NOT NULL AND NOT isnan({column}) GROUP BY 1"
            )
        )
        return [found.get(i, 0) for i in range(BINS)]

    def failures(self) -> dict[str, dict[str, Any]]:
        """Side -> reasons without a caption, captions that were cut, and checks that passed.

        `reasons` counts failures for good, `retryable` those that `nucleus retry` would do again.
        """
        found: dict[str, dict[str, Any]] = {}
        for side in SIDES:
            reasons, retryable = (
                self.rows(
                    f"SELECT split_part(error, ':', 1), count(*) FROM {view} "
                    "WHERE error IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
                )
                for view in (side, f"{side}_retryable")
            )
            checks = self.rows(
                f"SELECT name, count(*) FROM (SELECT unnest(checks) AS name FROM {side} "
                "WHERE error IS NULL) GROUP BY 1 ORDER BY 1"
            )
            (cut,) = self.one(
                f"SELECT count(*) FROM {side} WHERE finish_reason = 'length' AND error IS NULL"
            )
            found[side] = {
                "reasons": dict(reasons),
                "retryable": dict(retryable),
                "cut": cut,
                "checks": dict(checks),
            }
        return found

    def examples(self, most: int) -> list[dict[str, Any]]:
        """Some pictures of each kind with both captions; which ones is a function of the ids."""
        keyed = f"{keyed_sql(ORDER, 'id')}, id"
        only = "FROM sides WHERE {} IS NOT NULL AND {} IS NULL ORDER BY " + keyed
        queries = (
            f"FROM pairs WHERE NOT same ORDER BY overlap, {keyed}",
            f"FROM pairs ORDER BY {keyed}",
            only.format("first", "second"),
            only.format("second", "first"),
        )
        found: list[dict[str, Any]] = []
        for kind, query in zip(KINDS, queries, strict=True):
            places = self.rows(f"SELECT shard, row {query} LIMIT {most}")
            names = (
                "shard",
                "row",
                "id",
                "first",
                "second",
                "first_error",
                "second_error",
                "overlap",
            )
            marks = ", ".join(f"({int(shard)}, {int(row)})" for shard, row in places) or "(-1, -1)"
            rows = self.rows(
                f"SELECT shard, row, s.id, left(first, {SHOWN_CHARACTERS}), "
                f"left(second, {SHOWN_CHARACTERS}), first_error, second_error, overlap "
                f"FROM sides s LEFT JOIN pairs p USING (shard, row) WHERE (shard, row) IN ({marks})"
            )
            by_place = {row[:2]: dict(zip(names, row, strict=True)) for row in rows}
            found += [{"kind": kind, **by_place[place]} for place in places]
        return found

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Runs a query whose result is small."""
        return self.connection.execute(sql).fetchall()

    def one(self, sql: str) -> tuple[Any, ...]:
        """The row of a query that has one."""
        (row,) = self.rows(sql)
        return row


def _words(text: str) -> str:
    """SQL of a text's words."""
    return f"regexp_extract_all(lower({text}), '{_WORD}')"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def length_figures(lengths: dict[int, int]) -> dict[str, Any]:
    """Mean and quantiles of a side's lengths, in words."""
    total = sum(lengths.values())
    found: dict[str, Any] = {"captions": total, "mean": None}
    if not total:
        return found
    found["mean"] = round(sum(n * count for n, count in lengths.items()) / total, 2)
    for share in (5, 25, 50, 75, 95):
        seen = 0
        for words, count in sorted(lengths.items()):
            seen += count
            if 100 * seen >= share * total:
                found[f"p{share}"] = words
                break
    return found
