"""Distributed queries for pages: workers evaluate a query piece by piece of the tables.

A worker runs the query on one piece (`pages.tables.Piece`: some shards) and writes the answer as
JSON to the run's folder; this process then reads the answers in order, and removes them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.pages.survivors import LINKS
from nucleus_data.pages.tables import Piece, Question, Tables, piece_of
from nucleus_data.runner.run import Run
from nucleus_data.runner.work import Item, Summary
from nucleus_data.stage import Stage

FOLDER = "_asked"


@dataclass(frozen=True)
class AskTask:
    """Runs a query on one piece (a task of the runner).

    Attributes:
        uri: The corpus.
        storage_options: Options for fsspec.
        hashes: Config hashes of the tables, by name.
        folder: Path below the corpus of the folder with pieces and answers.
        question: The query: a module-level function of `Tables` and the arguments.
        arguments: Further arguments of the query.
        bare: Whether item numbers are not numbers of pieces, so that no piece is read.
    """

    uri: str
    storage_options: Mapping[str, Any]
    hashes: Mapping[str, str]
    folder: str
    question: Question
    arguments: Sequence[Any]
    bare: bool

    def run(self, number: int) -> Summary:
        """Runs the query, and writes its answer."""
        corpus = Corpus(self.uri, self.storage_options)
        if self.bare:
            tables: Tables = Piece(corpus, self.hashes, {}, {}, number, self.folder)
        else:
            tables = piece_of(corpus, self.hashes, self.folder, number)
        answer = self.question(tables, *self.arguments)
        corpus.store.put(self.answer(number), json.dumps(answer).encode())
        return Summary()

    def answer(self, number: int) -> str:
        """Returns the path, below the corpus, of the answer about a number."""
        return f"{self.folder}/{self.question.__name__.strip('_')}-{number:06d}.json"


class RunWorkers:
    """Gives pages access to a run's workers (the protocol `pages.tables.Workers`).

    Args:
        run: The run.
        stage: The stage that the work belongs to.
        corpus: The run's corpus, possibly without damaged files.
    """

    def __init__(self, run: Run, stage: Stage[Any], corpus: Corpus) -> None:
        self._run, self._stage, self._corpus = run, stage, corpus
        # Without damaged files, pieces have other content, so they need another folder.
        self.folder = run.path(f"{FOLDER}/{len(corpus.left_out)}")

    def ask(
        self,
        tables: Tables,
        question: Question,
        arguments: Sequence[Any],
        count: int,
        *,
        bare: bool = False,
    ) -> Iterator[Any]:
        """Yields the answers about numbers 0 to `count` - 1, in order.

        Args:
            tables: The tables to query.
            question: The query.
            arguments: Further arguments of the query.
            count: Number of answers.
            bare: See `AskTask`.

        Raises:
            duckdb.Error: A worker failed, possibly because of a damaged part.
        """
        store = self._corpus.store
        options, hashes = store.storage_options, tables.hashes
        task = AskTask(
            self._corpus.uri, options, hashes, self.folder, question, tuple(arguments), bare
        )
        phase = question.__name__.strip("_")
        items = [Item(number) for number in range(count)]
        report = self._run.loop(self._stage, task, items, count, phase=phase, keep=False)
        if report.failed:
            raise duckdb.Error(f"{self._stage.name}: {report.failed[0].error}")
        names = [task.answer(number) for number in range(count)]
        yield from map(json.loads, at_once(store, store.read, names))
        list(at_once(store, store.remove, names))

    def clear(self) -> None:
        """Removes all files of pieces and answers."""
        store = self._corpus.store
        for folder in (self.folder, f"{self.folder}/{LINKS}"):
            files = [name for name in store.list(folder) if name != LINKS]
            list(at_once(store, store.remove, [f"{folder}/{name}" for name in files]))
