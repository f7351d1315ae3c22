"""What numba needs before it compiles."""

import os
import tempfile


def stand_somewhere() -> None:
    """Gives this process a working directory, if its own is gone; numba asks for one.

    Ray deletes a job's directory when one of several nodes on one machine has no more use for it.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        os.chdir(tempfile.gettempdir())
