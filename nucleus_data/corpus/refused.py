"""Turns errors of a store into messages for people: full, not writable, can't be opened."""

import errno
from pathlib import Path
from typing import Any

from nucleus_data.corpus.addresses import reason, shown
from nucleus_data.errors import DiskFullError, RequestError

REFUSED = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENOENT,
}


class writing:
    """A context that converts a file system's errors of writing a file.

    Args:
        target: The file.
        name: Its name for messages.

    Raises:
        DiskFullError: The disk is full.
        RequestError: The file can't be written there.
    """

    def __init__(self, target: Path, name: str) -> None:
        self.target = target
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, OSError):
            return
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"the disk is full: {self.name} was not written. All work "
                "committed before is kept; free some space and run the same command again"
            ) from error
        if error.errno in REFUSED:
            reason = (error.strerror or "").lower()
            raise RequestError(
                f"{self.target} can't be written: {reason}. It must be in a folder that this "
                "user can write to and that supports hard links"
            ) from error


def not_opened(uri: str, error: Exception) -> RequestError:
    """Makes the error about a corpus whose `corpus.json` can't be read."""
    return RequestError(
        f"corpus={shown(uri)} can't be opened: {reason(error)}. Give a folder that "
        "this user may read, or the URL of a store, with its credentials in storage_options"
    )
