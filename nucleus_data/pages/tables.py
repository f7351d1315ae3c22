"""The tables that a page asks: all of them here, or some image shards at a time by workers.

A question is a function of tables, whose answer about some shards is added to that about others
(`Tables.each`). Of few shards it is asked once, of all; of very many, workers ask it of 64 shards
at a time and leave the answers in the store, so that this process never joins or holds what grows
with the pictures.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.damaged import read_json
from nucleus_data.corpus.records import Records
from nucleus_data.corpus.tables import Table, parts_list

SHARDS_HERE = 1000
SHARDS_A_PIECE = 64
RECORDS = "records"

Rows = list[Sequence[Any]]
# Of some tables, and further arguments that can be pickled: what JSON can hold.
Question = Callable[..., Any]


class Workers(Protocol):
    """Asks questions of numbered pieces of tables, at once and elsewhere."""

    @property
    def folder(self) -> str:
        """Path below the corpus of what is left for them, and by them."""

    def ask(
        self,
        tables: "Tables",
        question: Question,
        arguments: Sequence[Any],
        count: int,
        *,
        bare: bool = False,
    ) -> Iterator[Any]:
        """The answers about numbers 0 to `count` - 1, in order.

        Args:
            tables: The whole tables.
            question: What is asked; first of the tables of a piece, or of a bare one.
            arguments: Further arguments of it.
            count: How many numbers there are.
            bare: Whether the numbers are none of pieces: then a piece has no table.
        """


class Tables:
    """The exact tables of a run that have at least one part.

    Args:
        corpus: The corpus.
        hashes: Table name -> config hash.
        workers: Who is asked about more than `SHARDS_HERE` image shards; None: this process.

    Attributes:
        hashes: Those of `hashes`, and that of `records`.
        pieces: How many pieces workers are asked about; None where all is asked here.
        number: Of a piece, which one.
        folder: Where workers leave things.
        known: Answers that are asked for more than once.
    """

    known: dict[str, Any]

    def __init__(
        self, corpus: Corpus, hashes: Mapping[str, str], workers: Workers | None = None
    ) -> None:
        self.corpus = corpus
        self.connection = corpus.connection()
        pinned = {RECORDS: corpus.records.config_hash, **hashes}
        self._found = {name: corpus.at(name, hashed) for name, hashed in pinned.items()}
        self.hashes = {name: table.config_hash for name, table in self._found.items()}
        self._sources = {n: table.sql() for n, table in self._found.items() if table.whole_parts()}
        self._failed = {n: t.failed.sql() for n, t in self._found.items() if t.failed.whole_parts()}
        self._workers, self.known = workers, {}
        self.number, self.folder = 0, workers.folder if workers else ""
        self.pieces = self._divide() if workers else None

    def __contains__(self, name: str) -> bool:
        return name in self._sources

    def names(self, prefix: str) -> list[str]:
        """Tables with this prefix that have rows, sorted."""
        return sorted(name for name in self._sources if name.startswith(prefix))

    def sql(self, name: str) -> str:
        """The table as a SQL source."""
        return self._sources[name]

    def tried(self, prefix: str) -> list[str]:
        """Tables with this prefix that have rows, or failures that may pass; sorted."""
        return sorted(n for n in {*self._sources, *self._failed} if n.startswith(prefix))

    def failures(self, name: str) -> str:
        """A table's rows without values as a SQL source: `shard`, `row`, `id`, `error`, `detail`.

        Those that `nucleus retry` would do again are among them.
        """
        parts = [self.retryable(name)]
        if name in self:
            detail = "detail" if "detail" in self.columns(name) else "null"
            parts.append(
                f"select shard, row, id, error, cast({detail} as varchar) as detail "
                f"from {self.sql(name)} where error is not null"
            )
        return f"({' union all '.join(parts)})"

    def retryable(self, name: str) -> str:
        """What `nucleus retry` would do again, as a SQL source with the columns of `failures`.

        It lies beside a table, even one without rows, until the table has a row in its place.
        """
        if name not in self._failed:
            nothing = "0 as shard, 0 as row, '' as id, '' as error, '' as detail"
            return f"(select {nothing} where false)"
        found = f"select shard, row, id, reason as error, detail from {self._failed[name]}"
        if name in self:
            found += f" where (shard, row) not in (select (shard, row) from {self.sql(name)})"
        return f"({found})"

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Runs a query whose result is small."""
        return self.connection.execute(sql, list(values)).fetchall()

    def columns(self, name: str) -> dict[str, str]:
        """Column -> DuckDB type."""
        return {row[0]: row[1] for row in self.rows(f"describe select * from {self.sql(name)}")}

    def each(self, question: Question, *arguments: Any) -> Iterator[Any]:
        """The answers about all pieces, in the order of their shards.

        Args:
            question: A function of a module: of the tables of a piece, and of `arguments`.
            arguments: Further ones.
        """
        if self._workers is None or self.pieces is None:
            yield question(self, *arguments)
        else:
            yield from self._workers.ask(self, question, arguments, self.pieces)

    def numbered(self, question: Question, count: int, *arguments: Any) -> Iterator[Any]:
        """The answers of workers to a question about numbers, of which none is a piece."""
        assert self._workers is not None
        yield from self._workers.ask(self, question, arguments, count, bare=True)

    def near(self, shards: Collection[int], *names: str) -> "Tables":
        """Some tables of a few shards, of which no part of another shard is opened."""
        wanted = set(shards)
        parts = {
            name: [p for p in table.whole_parts() if table.shard_of(p) in wanted]
            for name in names
            if name in self._sources
            for table in [self._found[name]]
        }
        return Piece(self.corpus, self.hashes, parts, {})

    def _divide(self) -> int | None:
        """Leaves for workers which parts each piece has; returns how many pieces there are."""
        found: dict[int, dict[str, dict[str, str]]] = {}
        shards = 0
        for kind in ("parts", "failed"):
            for name, table in self._found.items():
                mine = table if kind == "parts" else table.failed
                numbers: dict[int, list[str]] = {}
                for part in mine.whole_parts():
                    numbers.setdefault(mine.shard_of(part), []).append(part)
                shards = max(shards, len(numbers))
                for number, parts in numbers.items():
                    piece = found.setdefault(number // SHARDS_A_PIECE, {})
                    texts = piece.setdefault(kind, {})
                    texts[name] = "\n".join([*([texts[name]] if name in texts else []), *parts])
        if shards <= SHARDS_HERE:
            return None
        for number, group in enumerate(sorted(found)):
            content = json.dumps(found[group], sort_keys=True)
            self.corpus.store.put(_piece(self.folder, number), content.encode())
        return len(found)


class Piece(Tables):
    """The tables of some image shards.

    Args:
        corpus: The corpus.
        hashes: Table name -> config hash.
        parts: Table name -> file names of its parts.
        failed: Table name -> file names of failures that may pass.
        number: Which piece of several.
        folder: Where workers leave things.
    """

    def __init__(
        self,
        corpus: Corpus,
        hashes: Mapping[str, str],
        parts: Mapping[str, Sequence[str]],
        failed: Mapping[str, Sequence[str]],
        number: int = 0,
        folder: str = "",
    ) -> None:
        self.corpus, self.connection = corpus, corpus.connection()
        self.hashes = dict(hashes)
        self._found = {name: corpus.at(name, hashed) for name, hashed in hashes.items()}
        self._workers, self.pieces, self.known = None, None, {}
        self.number, self.folder = number, folder
        self._sources = {n: _source(self._found[n], names) for n, names in parts.items() if names}
        self._failed = {
            n: _source(self._found[n].failed, names) for n, names in failed.items() if names
        }


def piece_of(corpus: Corpus, hashes: Mapping[str, str], folder: str, number: int) -> Tables:
    """The tables of a piece that `Tables` left for workers."""
    found = read_json(corpus.store, _piece(folder, number))
    parts, failed = (
        {name: text.split("\n") for name, text in found.get(kind, {}).items()}
        for kind in ("parts", "failed")
    )
    return Piece(corpus, hashes, parts, failed, number, folder)


def _piece(folder: str, number: int) -> str:
    return f"{folder}/piece-{number:06d}.json"


def _source(table: Table, names: Sequence[str]) -> str:
    """DuckDB SQL that reads some parts, of records without those that a retry has superseded."""
    urls = parts_list(table.store.url(f"{table.folder}/{name}") for name in names)
    parts = f"read_parquet({urls}, union_by_name = true)"
    if not isinstance(table, Records):
        return parts
    shards = {table.shard_of(name) for name in names}
    marked = {table.shard_of(name) for name in table.retried.whole_parts()}
    gone = [f"({n}, {row})" for n in sorted(shards & marked) for row in table.superseded(n)]
    if not gone:
        return parts
    return (
        f"(SELECT r.* FROM {parts} r ANTI JOIN (VALUES {', '.join(gone)}) s(shard, row) "
        "ON r.shard = s.shard AND r.row = s.row)"
    )
