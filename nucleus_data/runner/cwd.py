"""A working directory for processes that Ray took theirs from; numba asks for one."""

import os
import tempfile
from pathlib import Path


def stand_somewhere() -> None:
    """Gives this process a working directory, if its own is gone; numba asks for one.

    Ray deletes a job's directory when one of several nodes on one machine has no more use for it.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        os.chdir(tempfile.gettempdir())
