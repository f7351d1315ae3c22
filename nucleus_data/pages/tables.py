"""The tables that a page queries: in this process, or piece by piece by workers.

A question is a function of tables whose answers about different shards can be added up
(`Tables.each`). If there are few shards, it is called once, with the whole tables. If there are
very many, workers call it with 64 shards at a time, and write the answers to the store, so that
this process never joins or holds data that grows with the number of pictures.
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
# A function of some tables and of further arguments, which can be pickled; it returns JSON values.
Question = Callable[..., Any]


class Workers(Protocol):
    """Answers questions about numbered pieces of tables, concurrently, in other processes."""

    @property
    def folder(self) -> str:
        """Path below the corpus of the files that are exchanged with the workers."""

    def ask(
        self,
        tables: "Tables",
        question: Question,
        arguments: Sequence[Any],
        count: int,
        *,
        bare: bool = False,
    ) -> Iterator[Any]:
        """Yields the answers about the numbers 0 to `count` - 1, in order.

        Args:
            tables: The whole tables.
            question: The function to call; its first argument is a piece.
            arguments: Its further arguments.
            count: How many numbers there are.
            bare: Whether the numbers are not those of pieces; the question then gets a piece
                without tables, which only has the number.
        """


class Tables:
    """The exact tables of a run that have at least one part.

    Args:
        corpus: The corpus.
        hashes: Table name -> config hash.
        workers: The workers for more than `SHARDS_HERE` image shards; None to use only this
            process.

    Attributes:
        hashes: Table name -> config hash, including `records`.
        pieces: Number of pieces for the workers; None if this process answers all questions.
        number: The number of this piece, if it is one.
        folder: Path below the corpus of the files that are exchanged with the workers.
        known: Cache of answers that are needed several times.
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
        """Returns the names of the tables with a prefix that have rows, sorted."""
        return sorted(name for name in self._sources if name.startswith(prefix))

    def sql(self, name: str) -> str:
        """Returns a table as a SQL source."""
        return self._sources[name]

    def tried(self, prefix: str) -> list[str]:
        """Returns the names of the tables with a prefix that have rows or retryable failures."""
        return sorted(n for n in {*self._sources, *self._failed} if n.startswith(prefix))

    def failures(self, name: str) -> str:
        """Returns a table's failures as a SQL source: `shard`, `row`, `id`, `error`, `detail`.

        It has final and retryable failures.
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
        """Returns a table's retryable failures as a SQL source with the columns of `failures`.

        They are stored beside the table, which may have no rows. Those for which the table has a
        row by now are left out.
        """
        if name not in self._failed:
            nothing = "0 as shard, 0 as row, '' as id, '' as error, '' as detail"
            return f"(select {nothing} where false)"
        source = f"select shard, row, id, reason as error, detail from {self._failed[name]}"
        if name in self:
            source += f" where (shard, row) not in (select (shard, row) from {self.sql(name)})"
        return f"({source})"

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Runs a query whose result is small."""
        return self.connection.execute(sql, list(values)).fetchall()

    def columns(self, name: str) -> dict[str, str]:
        """Returns column -> DuckDB type, of a table."""
        return {row[0]: row[1] for row in self.rows(f"describe select * from {self.sql(name)}")}

    def each(self, question: Question, *arguments: Any) -> Iterator[Any]:
        """Yields the answers about all pieces, in the order of their shards.

        Args:
            question: A module-level function of the tables of a piece, and of `arguments`.
            arguments: Its further arguments.
        """
        if self._workers is None or self.pieces is None:
            yield question(self, *arguments)
        else:
            yield from self._workers.ask(self, question, arguments, self.pieces)

    def numbered(self, question: Question, count: int, *arguments: Any) -> Iterator[Any]:
        """Yields the workers' answers about the numbers 0 to `count` - 1, not about pieces."""
        assert self._workers is not None
        yield from self._workers.ask(self, question, arguments, count, bare=True)

    def near(self, shards: Collection[int], *names: str) -> "Tables":
        """Returns some of the tables, restricted to a few shards; other shards are not opened."""
        wanted = set(shards)
        parts = {
            name: [p for p in table.whole_parts() if table.shard_of(p) in wanted]
            for name in names
            if name in self._sources
            for table in [self._found[name]]
        }
        return Piece(self.corpus, self.hashes, parts, {})

    def _divide(self) -> int | None:
        """Writes the parts of each piece for the workers, and returns the number of pieces.

        None if there are so few shards that this process answers all questions.
        """
        pieces: dict[int, dict[str, dict[str, str]]] = {}
        shards = 0
        for kind in ("parts", "failed"):
            for name, table in self._found.items():
                source = table if kind == "parts" else table.failed
                numbers: dict[int, list[str]] = {}
                for part in source.whole_parts():
                    numbers.setdefault(source.shard_of(part), []).append(part)
                shards = max(shards, len(numbers))
                for number, parts in numbers.items():
                    piece = pieces.setdefault(number // SHARDS_A_PIECE, {})
                    texts = piece.setdefault(kind, {})
                    texts[name] = "\n".join([*([texts[name]] if name in texts else []), *parts])
        if shards <= SHARDS_HERE:
            return None
        for number, group in enumerate(sorted(pieces)):
            content = json.dumps(pieces[group], sort_keys=True)
            self.corpus.store.put(_piece(self.folder, number), content.encode())
        return len(pieces)


class Piece(Tables):
    """The tables of some image shards.

    Args:
        corpus: The corpus.
        hashes: Table name -> config hash.
        parts: Table name -> file names of its parts.
        failed: Table name -> file names of the parts of its retryable failures.
        number: The number of the piece.
        folder: Path below the corpus of the files that are exchanged with the workers.
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
    """Opens a piece whose parts `Tables` has written for the workers."""
    content = read_json(corpus.store, _piece(folder, number))
    parts, failed = (
        {name: text.split("\n") for name, text in content.get(kind, {}).items()}
        for kind in ("parts", "failed")
    )
    return Piece(corpus, hashes, parts, failed, number, folder)


def _piece(folder: str, number: int) -> str:
    return f"{folder}/piece-{number:06d}.json"


def _source(table: Table, names: Sequence[str]) -> str:
    """Returns SQL that reads some parts of a table, without records that a retry superseded."""
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
