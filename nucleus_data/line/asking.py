"""Questions about very many image shards, asked by the workers: what the report is made of.

A worker asks one piece of the tables (`nucleus_data.pages.tables`) and leaves the answer as JSON
under the run; this process takes the answers one after the other and removes them.
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
    """Asks a question of one piece (a task of the runner).

    Attributes:
        uri: The corpus.
        storage_options: For fsspec.
        hashes: Config hashes of the tables.
        folder: Path below the corpus that pieces and answers lie in.
        question: What is asked.
        arguments: Further arguments of it.
        bare: Whether numbers are none of pieces.
    """

    uri: str
    storage_options: Mapping[str, Any]
    hashes: Mapping[str, str]
    folder: str
    question: Question
    arguments: Sequence[Any]
    bare: bool

    def run(self, number: int) -> Summary:
        """Leaves the answer."""
        corpus = Corpus(self.uri, self.storage_options)
        if self.bare:
            tables: Tables = Piece(corpus, self.hashes, {}, {}, number, self.folder)
        else:
            tables = piece_of(corpus, self.hashes, self.folder, number)
        answer = self.question(tables, *self.arguments)
        corpus.store.put(self.answer(number), json.dumps(answer).encode())
        return Summary()

    def answer(self, number: int) -> str:
        """Path below the corpus of an answer."""
        return f"{self.folder}/{self.question.__name__.strip('_')}-{number:06d}.json"


class RunWorkers:
    """The workers of a run, for pages.

    Args:
        run: The run.
        stage: Whose work it is.
        corpus: The run's corpus, or the same without damaged files.
    """

    def __init__(self, run: Run, stage: Stage[Any], corpus: Corpus) -> None:
        self._run, self._stage, self._corpus = run, stage, corpus
        # Asked again without damaged files, the pieces are others.
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
        """The answers about numbers 0 to `count` - 1, in order; see `pages.tables.Workers`.

        Raises:
            duckdb.Error: A worker failed, maybe at a damaged part.
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
        """Removes what was left for workers, and by them."""
        store = self._corpus.store
        for folder in (self.folder, f"{self.folder}/{LINKS}"):
            files = [name for name in store.list(folder) if name != LINKS]
            list(at_once(store, store.remove, [f"{folder}/{name}" for name in files]))
