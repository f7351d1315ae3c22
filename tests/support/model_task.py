"""A model task that notes who loads its model and who does its items."""

import os
import signal
import uuid
from dataclasses import dataclass
from pathlib import Path

from nucleus_data.runner.work import Summary


@dataclass(frozen=True)
class Noting:
    """Notes in a folder what it does.

    Attributes:
        folder: The folder.
        kills: The item whose worker dies the first time that it does it.
        broken: Whether its model cannot be loaded.
    """

    folder: str
    kills: int = -1
    broken: bool = False

    def _note(self, what):
        (Path(self.folder) / f"{what} {os.getpid()} {uuid.uuid4().hex}").touch()

    def setup(self):
        if self.broken:
            raise ImportError("no such library")
        self._note("loads")

    def run(self, number):
        if number == self.kills and not self.notes(f"kill{number}"):
            self._note(f"kill{number}")
            os.kill(os.getpid(), signal.SIGKILL)
        self._note(f"does{number}")
        return Summary(rows=1, done=1)

    def notes(self, what):
        """The processes that noted something."""
        names = (path.name.split(" ") for path in Path(self.folder).iterdir())
        return [int(pid) for noted, pid, _ in names if noted.startswith(what)]
