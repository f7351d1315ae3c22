"""Copies an unfinished training to a corpus's store, so that it survives the loss of its machine.

`training/<hash of settings and set>/` contains the files of the newest checkpoint and the metrics,
under the same names as in the training's own folder. `latest.json` lists them and is written last;
files that it does not list are ignored. The folder only exists until the training is done.
"""

import json
from pathlib import Path

from nucleus_data.config import deciding
from nucleus_data.corpus.store import Store
from nucleus_data.hashing import config_hash
from nucleus_model.settings.settings import QuickTrainSettings

LATEST = "latest.json"
GROWING = (".jsonl",)


def place(training_set: str, settings: QuickTrainSettings) -> str:
    """Returns the store's folder for a training that is not done."""
    return f"training/{config_hash({'set': training_set, 'settings': deciding(settings)})}"


def steps_done(store: Store, folder: str) -> int:
    """Returns the last step of an unfinished training; 0 if there is none."""
    try:
        return int(json.loads(store.read(f"{folder}/{LATEST}"))["step"])
    except FileNotFoundError:
        return 0


class Mirror:
    """A training's local folder and its copy in a store.

    Args:
        store: The corpus's store.
        folder: The copy's folder, below the corpus (from `place`).
        local: The local folder.
    """

    def __init__(self, store: Store, folder: str, local: Path) -> None:
        self.store, self.folder, self.local = store, folder, local
        self._there: set[str] = set()

    def fetch(self) -> None:
        """Downloads an unfinished training, if there is one."""
        try:
            names = json.loads(self.store.read(f"{self.folder}/{LATEST}"))["files"]
        except FileNotFoundError:
            return
        for name in names:
            file = self.local / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.store.read(f"{self.folder}/{name}"))
        self._there = set(names)

    def push(self, checkpoint: Path) -> None:
        """Uploads files that are new since the last call, and removes those that are gone.

        Args:
            checkpoint: Folder of the newest checkpoint, which is named after its step.
        """
        names = sorted(
            path.relative_to(self.local).as_posix()
            for path in self.local.rglob("*")
            if path.is_file() and not any(part.startswith(".") for part in path.parts[-3:])
        )
        for name in names:
            # Curves grow in place; all other files never change once they have their names.
            if name.endswith(GROWING):
                self.store.put(f"{self.folder}/{name}", (self.local / name).read_bytes())
            elif name not in self._there:
                self.store.remove(f"{self.folder}/{name}")  # of a killed push
                self.store.create_file(f"{self.folder}/{name}", self.local / name)
        # Written when all files are there, and removed files go after it: killed anywhere, it names
        # only what is there.
        latest = {"step": int(checkpoint.name), "files": names}
        self.store.put(f"{self.folder}/{LATEST}", json.dumps(latest, indent=2).encode())
        for name in self._there.difference(names):
            self.store.remove(f"{self.folder}/{name}")
        self._there = set(names)

    def clear(self) -> None:
        """Removes the copy. Call it when the training is done."""
        for name in (LATEST, *sorted(self._there)):
            self.store.remove(f"{self.folder}/{name}")
