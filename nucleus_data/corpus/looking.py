"""Looking at a corpus of which some files are damaged: all else is shown, and those are named.

Nothing is checked beforehand: only where an answer fails are all files read through, and the
answer is asked for again without those that cannot be read. Who works on a corpus never goes
without a file: he fails with its name.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus.corpus import Corpus
from nucleus_data.corpus.damaged import BESIDE, WHOLE, DamagedError, read_whole, reading
from nucleus_data.corpus.published import published
from nucleus_data.corpus.runs import ROOT as RUNS
from nucleus_data.corpus.runs import read_json, read_lines
from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError

T = TypeVar("T")
THREADS = 8
TRAINING_SETS, CLAIMS = "sets", "claims"


def going_without(corpus: Corpus, ask: Callable[[Corpus], T]) -> T:
    """Asks about a corpus; if damaged files stand in the way, asks again without them.

    Args:
        corpus: The corpus.
        ask: Answers about the corpus that it is given, and changes no table of it. What it must
            say is left out are that corpus's `left_out`.

    Returns:
        The answer.

    Raises:
        CorpusError: It cannot be answered without a file; all damaged ones are named.
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
    """Reads all files of a corpus but its pictures, and returns those that cannot be read."""
    store = corpus.store
    found = []
    for name in store.list("tables"):
        for hashed in corpus.config_hashes(name):
            found += corpus.damaged(name, hashed)
            if name in WHOLE:
                found += _caught(lambda path: published(store, path), [f"tables/{name}/{hashed}"])
    found += _caught(lambda name: _parquet(store, name), _tables_of_sets(store))
    found += _caught(lambda name: _run_file(store, name), _run_files(store))
    return found


def without_lines(left_out: Collection[Mapping[str, str]]) -> Iterator[str]:
    """What an answer is without, for people.

    Args:
        left_out: The files, as `DamagedError.content`.
    """
    for one in left_out:
        yield f"left out: {one['file']} cannot be read: {one['found']}. {one['advice']}"
    if left_out:
        yield "all counts are without what is left out"


def _caught(check: Callable[[str], object], names: Iterable[str]) -> list[DamagedError]:
    """What a check says about some files."""

    def one(name: str) -> DamagedError | None:
        try:
            check(name)
        except FileNotFoundError:  # removed since it was listed
            return None
        except DamagedError as error:
            return error
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        return [error for error in pool.map(one, names) if error is not None]


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
