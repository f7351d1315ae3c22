"""A run of a comparison whose worker is killed the first times; Ray's workers import it."""

import os
import signal
from pathlib import Path

from nucleus_data.stages.train import replicates

DEATHS, MARK = "deaths", "died"
_run = replicates.run_remotely


def run_remotely(spec, asked):
    """Kills its worker as often as the folder's file says, then does the run."""
    folder = Path(spec.out)
    died = len(list(folder.glob(f"{MARK}*")))
    if died < int((folder / DEATHS).read_text()):
        (folder / f"{MARK}{died}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    _run(spec, asked)
