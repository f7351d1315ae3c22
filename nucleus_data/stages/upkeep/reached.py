"""What a takedown does not reach, and names: exports, and trainings on sets that had the records.

An export is known by its note (`corpus.exported`), a training by its run. Neither is changed: they
may lie where nothing of ours may write, and weights cannot be mended.
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

MIRROR = "training"  # unfinished trainings, of which it is not known on what they are
Lost = Mapping[str, Mapping[int, int]]


def lost_of(folders: Iterable[SetFolder], plan: TakedownPlan) -> Lost:
    """Set -> resolution -> how many of its samples were taken down."""
    found: dict[str, Counter[int]] = {}
    for folder in folders:
        counted: Counter[int] = Counter()
        for note in notes_of(folder, plan):
            counted[note["row"]["resolution"]] += len(note["ids"])
        if counted:
            found[folder.path] = counted
    return found


def not_reached(store: Store, lost: Lost, sets: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """What is known to have some of the records, or may have.

    Args:
        store: The corpus's.
        lost: As of `lost_of`.
        sets: The folders of all sets that there are.

    Returns:
        `exports`: `as`, `url`, and the most samples of them that it has, None where nobody knows;
        `trainings`: `path` below the corpus, and `set`, None for an unfinished one.
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
    """What is not reached, in lines for people."""
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
