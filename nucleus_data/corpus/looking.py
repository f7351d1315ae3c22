"""Read-only queries of a corpus with damaged files: they are left out, and reported by name.

Nothing is checked in advance. Only if a query fails are all files read, and the query is repeated
without those that can't be read. Commands that change a corpus never leave a file out: they fail,
and name it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TypeVar

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.corpus import Corpus
from nucleus_data.corpus.damaged import BESIDE, WHOLE, DamagedError, read_whole, reading
from nucleus_data.corpus.published import published
from nucleus_data.corpus.runs import ROOT as RUNS
from nucleus_data.corpus.runs import read_json, read_lines
from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError

T = TypeVar("T")
TRAINING_SETS, CLAIMS = "sets", "claims"


def going_without(corpus: Corpus, ask: Callable[[Corpus], T]) -> T:
    """Runs a query; if damaged files make it fail, repeats it without them.

    Args:
        corpus: The corpus.
        ask: The query: takes a corpus, and changes no table of it. It has to report the `left_out`
            files of the corpus that it gets.

    Returns:
        The result of `ask`.

    Raises:
        CorpusError: The query also fails without the damaged files; all of them are named.
    """
    try:
        return ask(corpus)
    except (DamagedError, duckdb.Error, pa.ArrowException):
        found = find_damaged(corpus)
        if not found:
            raise
    try:
        return ask(corpus.without(found))
    except (DamagedError, duckdb.Error, pa.ArrowException) as error:
        raise found[0] if len(found) == 1 else CorpusError("\n".join(map(str, found))) from error


def find_damaged(corpus: Corpus) -> list[DamagedError]:
    """Reads all files of a corpus except its pictures; returns an error for each damaged one."""
    store = corpus.store
    found = []
    for name in store.list("tables"):
        for hashed in corpus.config_hashes(name):
            found += corpus.damaged(name, hashed)
            if name in WHOLE:
                found += _caught(
                    store, lambda path: published(store, path), [f"tables/{name}/{hashed}"]
                )
    found += _caught(store, lambda name: _parquet(store, name), _tables_of_sets(store))
    found += _caught(store, lambda name: _run_file(store, name), _run_files(store))
    return found


def without_lines(left_out: Collection[Mapping[str, str]]) -> Iterator[str]:
    """Yields lines for people about the files that a result leaves out.

    Args:
        left_out: The files, in the form of `DamagedError.content`.
    """
    for one in left_out:
        yield f"left out: {one['file']} cannot be read: {one['found']}. {one['advice']}"
    if left_out:
        yield "no count includes what is left out"


def _caught(
    store: Store, check: Callable[[str], object], names: Iterable[str]
) -> list[DamagedError]:
    """Runs a check on files, many at once; returns the errors about damaged ones."""

    def problem(name: str) -> DamagedError | None:
        try:
            check(name)
        except FileNotFoundError:  # removed since it was listed
            return None
        except DamagedError as error:
            return error
        return None

    return [error for error in at_once(store, problem, names) if error is not None]


def _parquet(store: Store, name: str) -> None:
    data = read_whole(store, name)
    with reading(store, name):
        pq.read_table(pa.BufferReader(data))


def _tables_of_sets(store: Store) -> Iterator[str]:
    """The Parquet files of training sets, and the claims."""
    yield from _parquets(store, CLAIMS)
    for name in store.list(TRAINING_SETS):
        for hashed in store.list(f"{TRAINING_SETS}/{name}"):
            folder = f"{TRAINING_SETS}/{name}/{hashed}"
            yield from _parquets(store, folder)
            others = (f"{folder}/{kind}" for kind in BESIDE)
            for root in (folder, *(f"{o}/{h}" for o in others for h in store.list(o))):
                for side in (n for n in store.list(root) if n.isdecimal()):
                    for aspect in store.list(f"{root}/{side}"):
                        yield from _parquets(store, f"{root}/{side}/{aspect}")


def _parquets(store: Store, folder: str) -> Iterator[str]:
    return (f"{folder}/{name}" for name in store.list(folder) if name.endswith(".parquet"))


def _run_files(store: Store) -> Iterator[str]:
    for run in store.list(RUNS):
        for folder in (f"{RUNS}/{run}", f"{RUNS}/{run}/quick_train"):
            yield from (f"{folder}/{n}" for n in store.list(folder) if _is_json(n))


def _is_json(name: str) -> bool:
    return name.endswith((".json", ".jsonl"))


def _run_file(store: Store, name: str) -> None:
    # A line that was cut off costs itself alone, and is counted by who reads the file.
    read_json(store, name) if name.endswith(".json") else read_lines(store, name)
