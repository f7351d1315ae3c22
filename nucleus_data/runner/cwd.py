"""A working directory for processes whose own was deleted by Ray."""

import os
import tempfile
from pathlib import Path


def stand_somewhere() -> None:
    """Changes to another working directory if this process's own was deleted; numba needs one.

    Ray deletes a job's directory when one of several nodes on the same machine no longer uses it.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        os.chdir(tempfile.gettempdir())
