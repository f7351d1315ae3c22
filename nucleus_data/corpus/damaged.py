"""Files of a corpus that cannot be read: which one, what was found, and what to do about it.

Whoever reads a file does it inside `reading`, so that an error names the file by its whole path.
"""

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nucleus_data.corpus.store import Store
from nucleus_data.corpus.told import command as told
from nucleus_data.corpus.told import ingesting
from nucleus_data.errors import CorpusError

SHOWN = 200
# Tables that one task of a stage does not own: the whole is made again.
WHOLE = {"dedup": "dedup", "compare": "compare", "selection": "select"}
# Folders of a set whose folders have files beside its tars.
BESIDE = ("captions", "columns")
ENCODED = "encoded"
RECORDS, RETRIED, PUBLISHED, CORPUS = "records", "_retried", "_published.json", "corpus.json"


class DamagedWarning(UserWarning):
    """A table is read without a damaged part."""


class DamagedError(CorpusError):
    """A file of a corpus cannot be read.

    Args:
        name: Its path below the corpus.
        url: Its whole path or URL.
        found: What was found: its size, and what its reader said.
        advice: What to do.
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
        """As JSON."""
        return {"file": self.url, "found": self.found, "advice": self.advice}


def read_whole(store: Store, name: str) -> bytes:
    """A file's bytes.

    Raises:
        FileNotFoundError: There is none.
        DamagedError: A folder lies in its place, or this user may not read it. What else a store
            says (a network that is away) is about no file, and passes through.
    """
    try:
        return store.read(name)
    except (IsADirectoryError, PermissionError) as error:
        raise damaged(store, name, error) from error


@contextmanager
def reading(store: Store, name: str) -> Iterator[None]:
    """Names the file in the error that its bytes make, of whatever type: Arrow has many.

    Args:
        store: The corpus's store.
        name: The file's path below the corpus.

    Raises:
        DamagedError: The bytes are not what they should be.
    """
    try:
        yield
    except (CorpusError, MemoryError):
        raise
    except Exception as error:
        raise damaged(store, name, error) from error


def damaged(store: Store, name: str, error: Exception | str) -> DamagedError:
    """The error about a file.

    Args:
        store: The corpus's store.
        name: The file's path below the corpus.
        error: What its reader said.
    """
    if isinstance(error, IsADirectoryError):
        found = "a folder lies in its place"
    elif isinstance(error, PermissionError):
        command = f": chmod u+r {shlex.quote(store.url(name))}" if store.local else ""
        advice = f"Let this user read it{command}"
        return DamagedError(name, store.url(name), "permission denied", advice)
    else:
        said = " ".join(str(error).split())
        said = said if len(said) <= SHOWN else f"{said[:SHOWN]}..."
        found = f"it has {_size(store, name)} bytes; {said or type(error).__name__}"
    return DamagedError(name, store.url(name), found, advice_on(store, name))


def read_json(store: Store, name: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: It holds something else.
    """
    data = read_whole(store, name)
    with reading(store, name):
        content = json.loads(data)
        if not isinstance(content, dict):
            raise damaged(store, name, f"it holds {_shown(content)}, not a JSON object")
        return content


def advice_on(store: Store, name: str) -> str:
    """What to do about a damaged file of a corpus, in a sentence.

    Args:
        store: The corpus's store.
        name: The file's path below the corpus.
    """
    folders = name.split("/")
    root, file = folders[0], folders[-1]
    shard = re.fullmatch(r"(\d+)-\d+\.parquet", file)
    if root == "tables" and len(folders) > 3:
        table = folders[1]
        if RETRIED in folders:
            return (
                "No stage makes it again: put a copy back. Do not remove it: records that were "
                "downloaded again would be there twice"
            )
        if file == PUBLISHED:
            return f"Remove it, and {_run(store, WHOLE.get(table, table))}"
        if table in WHOLE:
            folder = store.url("/".join(folders[:3]))
            return f"Remove the folder '{folder}', and {_run(store, WHOLE[table])}"
        # Parts of a shard are numbered without gaps, and those behind a gap would not be seen.
        pattern = f"{shard[1]}-*.parquet" if shard else file
        files = store.url("/".join([*folders[:-1], pattern]))
        if table == RECORDS:
            number = shard[1] if shard else "NUMBER"
            return (
                f"Put a copy back; or remove {files}, and ingest the same source again: "
                f"claims/{number}.parquet and images/{number}.tar are there, and it is made of "
                f"them again; run: {ingesting(store.uri)}"
            )
        return f"Remove {files}, and {_run(store, table.split('.')[0])}"
    if root == "claims":
        number = file.removesuffix(".parquet")
        return (
            "No stage makes it again: put a copy back. Remove it only if neither "
            f"images/{number}.tar nor a record of that shard is there: ingest then claims its rows "
            "anew"
        )
    if root == "sets":
        whole = store.url("/".join(folders[:3]))
        if file == "manifest.parquet":
            return f"Remove it, and {_run(store, 'shard')}"
        if len(folders) > 4 and folders[3] == ENCODED:
            return f"Remove it, and {_run(store, 'encode')}"
        if len(folders) > 5 and folders[3] in BESIDE:  # no tar is written again for it
            whole = store.url("/".join(folders[:5]))
        return f"Remove the folder '{whole}', and {_run(store, 'shard')}"
    if root == "images":
        return (
            "No stage makes it again as it was: put a copy back. Without one, its records stay as "
            "they are, but nothing can be measured of them any more"
        )
    if root == "blocked":
        return (
            "Put a copy back: without it, an ingest would take what was blocked or taken down. If "
            "there is none, remove it and block the same again; run: nucleus block --help"
        )
    if root == "runs":
        return "Remove it: it is for reports alone, and no table depends on it"
    if name == CORPUS:
        return (
            "Put a copy back; or remove it, and ingest the same source, which writes it anew; all "
            f"else stays as it is; run: {ingesting(store.uri)}"
        )
    return "Put a copy back"


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
