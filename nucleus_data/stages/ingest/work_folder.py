"""A folder for a shard's temporary files, beside the corpus's own where there is room for them."""

import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from nucleus_data.corpus import Corpus
from nucleus_data.errors import DiskFullError

FOLDER = "incoming"


@contextmanager
def work_folder(corpus: Corpus, number: int) -> Iterator[Path]:
    """An empty folder that is removed afterwards: below `CORPUS/incoming`, if that is local.

    What a killed process of this machine left for the same shard is removed first.

    Raises:
        DiskFullError: The disk is full.
    """
    parent = Path(corpus.store.path(FOLDER)) if corpus.store.local else Path(tempfile.gettempdir())
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
                f"the disk is full: image shard {number:06d} was not built (in {parent}). What was "
                "committed before is whole; free some space and run the same command again"
            ) from error
        raise


def remove_empty(corpus: Corpus) -> None:
    """Removes `CORPUS/incoming` at the end of an ingest, unless another one is at work there."""
    if corpus.store.local:
        with suppress(OSError):
            Path(corpus.store.path(FOLDER)).rmdir()
