"""Lists what a takedown does not change: exports, and trainings on sets that had the records.

An export is known from its note (`corpus.exported`), a training from its run. They are not changed,
as exports may be at locations without write access, and weights can't be repaired.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nucleus_data.corpus.exported import exports
from nucleus_data.corpus.runs import TRAINING, path_of, plans
from nucleus_data.corpus.store import Store
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.upkeep.notes import notes_of
from nucleus_data.stages.upkeep.plan import TakedownPlan

MIRROR = "training"  # folder of unfinished trainings, whose sets are unknown
Lost = Mapping[str, Mapping[int, int]]


def lost_of(folders: Iterable[SetFolder], plan: TakedownPlan) -> Lost:
    """Returns set -> resolution -> number of its samples that were taken down."""
    found: dict[str, Counter[int]] = {}
    for folder in folders:
        counted: Counter[int] = Counter()
        for note in notes_of(folder, plan):
            counted[note["row"]["resolution"]] += len(note["ids"])
        if counted:
            found[folder.path] = counted
    return found


def not_reached(store: Store, lost: Lost, sets: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Returns the exports and trainings that have, or may have, any of the records.

    Args:
        store: The corpus's store.
        lost: Numbers of samples taken down, from `lost_of`.
        sets: Folders of all existing sets.

    Returns:
        `exports`: a list of `as`, `url`, and `samples`, the maximum number of affected samples
        (None if unknown); `trainings`: a list of `path`, relative to the corpus, and `set` (None
        for an unfinished training).
    """
    known = set(sets)
    found: list[dict[str, Any]] = []
    for one in exports(store):
        samples: int | None = None
        if (made := one.get("set")) in known:
            sides = one.get("resolutions") or list(lost.get(made, {}))
            samples = sum(lost.get(made, {}).get(side, 0) for side in sides)
        if samples != 0:
            found.append({"as": one.get("as"), "url": one.get("url"), "samples": samples})
    trainings = [
        {"path": path_of(run, TRAINING), "set": plan["set"]}
        for run, plan in plans(store)
        if plan.get("set") in lost and store.list(path_of(run, TRAINING))
    ]
    trainings += [{"path": f"{MIRROR}/{name}", "set": None} for name in store.list(MIRROR)]
    return {
        "exports": sorted(found, key=lambda one: str(one["url"])),
        "trainings": sorted(trainings, key=lambda one: str(one["path"])),
    }


def said(store: Store, found: Mapping[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Yields lines for people about the result of `not_reached`."""
    if found["exports"]:
        yield "takedown: these exports stay as they are. Remove each, and export again:"
    for one in found["exports"]:
        samples = one["samples"]
        count = "perhaps some of them" if samples is None else f"up to {samples:,} of them"
        yield f"  {one['url']} ({one['as']}; {count})"
    if found["trainings"]:
        yield "takedown: these trainings may have seen them; their checkpoints stay as they are:"
    for one in found["trainings"]:
        about = f"on {one['set']}" if one["set"] else "not finished"
        yield f"  {store.url(one['path'])} ({about})"
