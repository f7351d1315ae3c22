"""Locates and reads a takedown's notes on its changes to a set."""

from collections.abc import Iterator
from typing import Any

from nucleus_data.corpus.damaged import read_json
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.upkeep.plan import TakedownPlan

BEFORE = "before.json"


def note_folder(plan: TakedownPlan, folder: SetFolder) -> str:
    """Returns the folder of a takedown's notes on a set."""
    _, name, hashed = folder.path.split("/")
    return f"{plan.folder}/sets/{name}-{hashed}"


def notes_of(folder: SetFolder, plan: TakedownPlan) -> Iterator[dict[str, Any]]:
    """Yields the notes on the tars of a set that were rewritten."""
    place = note_folder(plan, folder)
    for name in folder.store.list(place):
        if name.endswith(".json") and name != BEFORE:
            yield read_json(folder.store, f"{place}/{name}")
