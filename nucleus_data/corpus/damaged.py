"""Errors about files of a corpus that can't be read: which one, what was found, what to do.

Code that parses a file does so inside `with reading(store, name):`, so that any error of the parser
becomes a `DamagedError` with the file's full path.
"""

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from nucleus_data.corpus.store import Store
from nucleus_data.corpus.told import command as told
from nucleus_data.corpus.told import ingesting
from nucleus_data.errors import CorpusError

SHOWN = 200
# Table -> stage, for tables made as a whole: a damaged part can't be made again on its own.
WHOLE = {"dedup": "dedup", "compare": "compare", "selection": "select"}
# Folders of a training set for what is stored beside its tars.
BESIDE = ("captions", "columns")
ENCODED = "encoded"
RECORDS, RETRIED, PUBLISHED, CORPUS = "records", "_retried", "_published.json", "corpus.json"


class DamagedWarning(UserWarning):
    """A table was read without a damaged part."""


class DamagedError(CorpusError):
    """A file of a corpus cannot be read.

    Args:
        name: Its path below the corpus.
        url: Its full path or URL.
        found: What is wrong: its size, and the parser's message.
        advice: What to do about it.
    """

    def __init__(self, name: str, url: str, found: str, advice: str) -> None:
        super().__init__(name, url, found, advice)  # all of them, so that it can be pickled
        self.name = name
        self.url = url
        self.found = found
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.url} cannot be read: {self.found}. {self.advice}"

    def content(self) -> dict[str, str]:
        """Returns the error as a JSON object: `file`, `found`, `advice`."""
        return {"file": self.url, "found": self.found, "advice": self.advice}


def read_whole(store: Store, name: str) -> bytes:
    """Returns a file's bytes.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: It is a folder, or this user may not read it. Other errors (of the network)
            are not about the file, and are raised as they are.
    """
    try:
        return store.read(name)
    except (IsADirectoryError, PermissionError) as error:
        raise damaged(store, name, error) from error


@contextmanager
def reading(store: Store, name: str) -> Iterator[None]:
    """Converts any exception raised inside the context to a `DamagedError` about a file.

    Parsers raise many types for malformed bytes; Arrow alone has several.

    Args:
        store: The corpus's store.
        name: The file's path below the corpus.

    Raises:
        DamagedError: The block raised, except for our own errors and MemoryError.
    """
    try:
        yield
    except (CorpusError, MemoryError):
        raise
    except Exception as error:
        raise damaged(store, name, error) from error


def damaged(store: Store, name: str, error: Exception | str) -> DamagedError:
    """Makes the error about a file.

    Args:
        store: The corpus's store.
        name: The file's path below the corpus.
        error: The parser's error, or what is wrong.
    """
    if isinstance(error, IsADirectoryError):
        found = "a folder is in its place"
    elif isinstance(error, PermissionError):
        command = f": chmod u+r {shlex.quote(store.url(name))}" if store.local else ""
        advice = f"Allow this user to read it{command}"
        return DamagedError(name, store.url(name), "permission denied", advice)
    else:
        message = " ".join(str(error).split()).rstrip(".")
        message = message if len(message) <= SHOWN else f"{message[:SHOWN]}..."
        found = f"it has {_size(store, name)} bytes; {message or type(error).__name__}"
    return DamagedError(name, store.url(name), found, advice_on(store, name))


def read_json(store: Store, name: str) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: The file is not a JSON object.
    """
    data = read_whole(store, name)
    with reading(store, name):
        content = json.loads(data)
        if not isinstance(content, dict):
            raise damaged(store, name, f"it contains {_shown(content)}, not a JSON object")
        return content


def advice_on(store: Store, name: str) -> str:
    """Returns what to do about a damaged file of a corpus, in a sentence.

    Args:
        store: The corpus's store.
        name: The file's path below the corpus.
    """
    folders = name.split("/")
    root = folders[0]
    if root == "tables" and len(folders) > 3:
        return _advice_on_table(store, folders)
    if root == "sets":
        return _advice_on_set(store, folders)
    if root == "claims":
        number = folders[-1].removesuffix(".parquet")
        return (
            "No stage can make it again: restore a copy. Remove it only if neither "
            f"images/{number}.tar nor a record of that shard exists: ingest then claims its rows "
            "again"
        )
    if name == CORPUS:
        return (
            "Restore a copy; or remove it and ingest the same source, which writes it again and "
            f"changes nothing else; run: {ingesting(store.uri)}"
        )
    return _ADVICE.get(root, "Restore a copy")


# Advice on files for which it depends on the top folder alone.
_ADVICE = {
    "images": (
        "No stage can make the same file again: restore a copy. Without one, its records stay as "
        "they are, but nothing more can be measured on them"
    ),
    "blocked": (
        "Restore a copy: without it, an ingest would accept what was blocked or taken down. If "
        "there is no copy, remove it and block the same values again; run: nucleus block --help"
    ),
    "runs": "Remove it: it is only used in reports, and no table depends on it",
}


def _advice_on_table(store: Store, folders: Sequence[str]) -> str:
    """Returns the advice on a file of a table.

    Args:
        store: The corpus's store.
        folders: The parts of the file's path: `tables`, the table, its config hash, ..., the file.
    """
    table, file = folders[1], folders[-1]
    if RETRIED in folders:
        return (
            "No stage can make it again: restore a copy. Do not remove it: records that were "
            "downloaded again would appear twice"
        )
    if file == PUBLISHED:
        return f"Remove it, and {_run(store, WHOLE.get(table, table))}"
    if table in WHOLE:
        folder = store.url("/".join(folders[:3]))
        return f"Remove the folder '{folder}', and {_run(store, WHOLE[table])}"
    # All parts of the shard: they are numbered without gaps, and parts after a gap are not read.
    shard = re.fullmatch(r"(\d+)-\d+\.parquet", file)
    pattern = f"{shard[1]}-*.parquet" if shard else file
    files = store.url("/".join([*folders[:-1], pattern]))
    if table == RECORDS:
        number = shard[1] if shard else "NUMBER"
        return (
            f"Restore a copy; or remove {files} and ingest the same source again, which makes "
            f"it from claims/{number}.parquet and images/{number}.tar; "
            f"run: {ingesting(store.uri)}"
        )
    return f"Remove {files}, and {_run(store, table.split('.')[0])}"


def _advice_on_set(store: Store, folders: Sequence[str]) -> str:
    """Returns the advice on a file of a training set.

    Args:
        store: The corpus's store.
        folders: The parts of the file's path: `sets`, the set, its config hash, ..., the file.
    """
    if folders[-1] == "manifest.parquet":
        return f"Remove it, and {_run(store, 'shard')}"
    if len(folders) > 4 and folders[3] == ENCODED:
        return f"Remove it, and {_run(store, 'encode')}"
    # A damaged caption edition or column is made again without writing the set's tars again.
    beside = len(folders) > 5 and folders[3] in BESIDE
    folder = store.url("/".join(folders[: 5 if beside else 3]))
    return f"Remove the folder '{folder}', and {_run(store, 'shard')}"


def _run(store: Store, command: str) -> str:
    return f"run: {told(command, store.uri)}"


def _size(store: Store, name: str) -> str:
    try:
        return f"{store.size(name):,}"
    except OSError:
        return "unknown"


def _shown(content: Any) -> str:
    text = json.dumps(content)
    return text if len(text) <= SHOWN // 4 else f"{text[: SHOWN // 4]}..."
