"""Folders for a shard's temporary files, beside the corpus's own where there is room for them."""

import errno
import fcntl
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from nucleus_data.corpus import Corpus
from nucleus_data.errors import DiskFullError

FOLDER = "incoming"
LOCK = "lock"


@contextmanager
def work_folder(corpus: Corpus, number: int) -> Iterator[Path]:
    """An empty folder that is removed afterwards: below `CORPUS/incoming`, if that is local.

    What a killed process of this machine left for the same shard is removed first.

    Raises:
        DiskFullError: The disk is full.
    """
    parent = _parent(corpus)
    start = f"nucleus-{number:06d}.{socket.gethostname()}."
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for old in parent.glob(f"{start}*"):
            pid = old.name[len(start) :].partition(".")[0]
            if corpus.store.local and pid.isdigit() and not psutil.pid_exists(int(pid)):
                shutil.rmtree(old, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{start}{os.getpid()}.", dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"the disk is full: image shard {number:06d} was not built (in {parent}). "
                "All that was committed is intact; free some space and run the same command again"
            ) from error
        raise


@contextmanager
def kept_folder(corpus: Corpus, number: int, other: Path) -> Iterator[Path]:
    """A folder whose content outlives a process that is killed; `drop_kept` removes it.

    Args:
        corpus: The corpus.
        number: The image shard.
        other: The folder that is given where another process has that of the shard.
    """
    folder = _kept(corpus, number)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            lock = stack.enter_context((folder / LOCK).open("wb"))
        except FileNotFoundError:  # who had it is done with the shard, just now
            found = other
        else:
            found = folder if _locked(lock.fileno(), folder) else other
        yield found


def kept_folders(corpus: Corpus) -> Iterator[Path]:
    """The folders of shards that processes of this machine are at work on, or left when killed."""
    return _parent(corpus).glob(_kept_name(corpus, "*"))


def drop_kept(corpus: Corpus, number: int) -> None:
    """Removes a shard's kept folder, unless another process is at work there."""
    folder = _kept(corpus, number)
    with suppress(OSError), (folder / LOCK).open("rb+") as lock:
        if _locked(lock.fileno(), folder):
            shutil.rmtree(folder, ignore_errors=True)


def _kept(corpus: Corpus, number: int) -> Path:
    """Where it is: the same path in every process of this machine."""
    return _parent(corpus) / _kept_name(corpus, f"{number:06d}")


def _kept_name(corpus: Corpus, number: str) -> str:
    # Others' corpora may lie in the same temporary folder.
    whose = "" if corpus.store.local else hashlib.sha256(corpus.uri.encode()).hexdigest()[:16] + "-"
    return f"nucleus-fetch-{whose}{number}"


def _parent(corpus: Corpus) -> Path:
    return Path(corpus.store.path(FOLDER)) if corpus.store.local else Path(tempfile.gettempdir())


def _locked(lock: int, folder: Path) -> bool:
    """Whether this process has the lock of a folder that is still there."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(lock), (folder / LOCK).stat())
    except OSError:
        return False


def remove_empty(corpus: Corpus) -> None:
    """Removes `CORPUS/incoming` at the end of an ingest, unless another one is at work there."""
    if corpus.store.local:
        with suppress(OSError):
            Path(corpus.store.path(FOLDER)).rmdir()
