"""`nucleus takedown`: permanently removes pictures and everything derived from them.

    request = Request.of(hosts=["example.org"])
    for line in forecast(run, request, dedup): print(line)     # what would be removed
    take_down(run, request, dedup)

First, the pictures are added to the block list, so that no later ingest takes them. Then the plan
is written down (`plan`), since the records can no longer be found once the removal has begun. Then
shards and sets are rewritten, each file as a whole, and everything is read again to prove the
absence. A command that was killed is repeated, and continues where it stopped.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from nucleus_data.corpus.blocked import TAKEN_DOWN, add_blocked
from nucleus_data.corpus.damaged import read_whole
from nucleus_data.corpus.published import MARKER
from nucleus_data.corpus.runs import ROOT as RUNS
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tar_names import tar_name
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.printed import counted
from nucleus_data.runner.run import Run
from nucleus_data.runner.work import Item, StageReport
from nucleus_data.sets.layout import SetFolder, all_sets, published_sets
from nucleus_data.stage import Stage
from nucleus_data.stages.dedup.settings import DedupSettings
from nucleus_data.stages.upkeep.encoded import SaidTask, StatesTask, plan_lost, plan_states
from nucleus_data.stages.upkeep.find import find_records
from nucleus_data.stages.upkeep.plan import (
    TakedownPlan,
    entries_of,
    made_plan,
    next_name,
    read_plan,
    takedowns,
    tar_digests,
)
from nucleus_data.stages.upkeep.prove import ProveSetTask, ProveTask
from nucleus_data.stages.upkeep.reached import lost_of, not_reached, said
from nucleus_data.stages.upkeep.request import Request
from nucleus_data.stages.upkeep.sets import (
    CountTask,
    SetTask,
    is_planned,
    publish_without,
    remove_all,
    write_before,
)
from nucleus_data.stages.upkeep.shards import ShardTask

SHOWN = 10
# Everything in a page that may be an id, also within longer sequences of hex digits.
_IDS = re.compile(rb"(?=([0-9a-f]{32}))")
NOBODY = "takedown: no record of this corpus matches; later ingests refuse it"


class NoSettings(BaseModel):
    """Upkeep has no section in a configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Takedown(Stage[NoSettings]):
    """Identifies the work in a run; not a stage of the recipe."""

    name: ClassVar[str] = "takedown"
    help: ClassVar[str] = "Remove pictures and everything made from them."
    Settings = NoSettings


UPKEEP = Takedown(NoSettings())


def forecast(run: Run, request: Request, dedup: DedupSettings) -> Iterator[str]:
    """Yields lines for people about what a takedown would remove; writes nothing.

    Args:
        run: The run.
        request: The request.
        dedup: Settings that define near duplicates.
    """
    plan, found, under_way = _planned(run, request, dedup)
    if under_way:
        yield f"takedown {plan.name} is under way; without --dry-run, it continues"
    elif not plan.records.num_rows:
        yield f"{NOBODY}, without --dry-run"
        return
    yield from _what(run, plan)
    lost: dict[str, dict[int, int]] = {}
    yield from _of_sets(run, plan, lost)
    sets = [folder.path for folder in published_sets(run.corpus.store)]
    yield from said(run.corpus.store, not_reached(run.corpus.store, lost, sets))
    if found is not None:
        texts = {r["id"]: r["url"] for r in found.to_pylist()}
        for ident in plan.ids()[:SHOWN]:
            yield f"  {ident}  {texts.get(ident) or ''}"
        if len(plan.ids()) > SHOWN:
            yield f"  and {len(plan.ids()) - SHOWN:,} more"


def _of_sets(run: Run, plan: TakedownPlan, lost: dict[str, dict[int, int]]) -> Iterator[str]:
    """Yields how many samples and tars of each set would be removed.

    `lost` receives set -> resolution -> number of samples.
    """
    sets = tuple((f.path, len(f.manifest())) for f in published_sets(run.corpus.store))
    place = (run.corpus.uri, run.corpus.store.storage_options)
    items = [Item(number) for number in range(sum(count for _, count in sets))]
    task = CountTask(*place, tuple(plan.ids()), sets)
    report = run.loop(UPKEEP, task, items, len(items), keep=False)
    for path, tars in sets:
        gone, touched = (report.summary.extra[f"{name} {path}"] for name in ("samples", "tars"))
        yield f"  {path}: {counted(gone, 'sample')}, in {touched:,} of {counted(tars, 'tar')}"
        if gone:
            sides = {tar.resolution for tar in SetFolder(run.corpus.store, path).manifest()}
            lost[path] = {side: report.summary.extra[f"{side} {path}"] for side in sorted(sides)}


def take_down(run: Run, request: Request, dedup: DedupSettings) -> bool:
    """Takes down the records of a request, or continues an interrupted takedown of it.

    Args:
        run: The run.
        request: The request.
        dedup: Settings that define near duplicates.

    Returns:
        Whether nothing failed, in which case all records are removed and proven absent.
    """
    plan, found, under_way = _planned(run, request, dedup)
    store = run.corpus.store
    # Incomplete files of killed processes may contain the records.
    store.sweep("", deep=True)
    counts = Counter(sets_removed=_unfinished(run, plan))
    for name, ended in takedowns(store):
        if not ended and name != plan.name:
            run.say(f"takedown {name} is unfinished: run its own command again")
    if not under_way:
        assert found is not None
        # First of all, so that no ingest brings the records back meanwhile.
        add_blocked(store, entries_of(request, found))
        if not plan.records.num_rows:
            run.say(NOBODY)
            return True
        plan.write(store)
    for line in _what(run, plan):
        run.say(line)
    for phase, task, items in _phases(run, plan):
        todo = [Item(number) for number in items]
        report = run.loop(UPKEEP, task, todo, len(todo), phase=phase, keep=False)
        counts.update(report.summary.extra)
        if report.failed:
            run.keep(report)
            return False
        if phase == "tables and images":
            _publish_again(store, plan)
            counts["pages"] += _remove_pages(store, plan)
        if phase == "sets":
            for folder in published_sets(store):
                publish_without(folder, plan)
    _end(run, plan, counts)
    return True


def _unfinished(run: Run, plan: TakedownPlan) -> int:
    """Removes incomplete sets that are planned with any of the records; `shard` writes them again.

    Returns:
        The number of sets removed.

    Raises:
        RequestError: A set of an older layout can't be read, and so may contain records.
    """
    store, removed = run.corpus.store, 0
    for folder in all_sets(store):
        if folder.published:
            try:
                folder.manifest_table()
            except CorpusError as error:
                raise RequestError(
                    f"{error} Its copies of these records cannot be taken down; remove the folder "
                    f"'{folder.url()}' first"
                ) from None
        elif is_planned(folder, plan):
            # Nothing reads the set, and it is unknown how much of it is written.
            remove_all(store, store.find(folder.path))
            run.say(f"takedown: removed {folder.url()}, an unfinished set")
            removed += 1
    return removed


def _planned(run: Run, request: Request, dedup: DedupSettings) -> tuple[TakedownPlan, Any, bool]:
    """Returns the plan; the records found, None if it is under way; and whether it is."""
    name, under_way = next_name(run.corpus.store, request)
    if under_way:
        return read_plan(run.corpus.store, name), None, True
    found = find_records(run.corpus, request, dedup, run.tables)
    return made_plan(run.corpus, name, request, found), found, False


def _phases(run: Run, plan: TakedownPlan) -> Iterator[tuple[str, Any, list[int]]]:
    place = (run.corpus.uri, run.corpus.store.storage_options, plan.name)
    shards = plan.shards()
    yield "tables and images", ShardTask(*place), shards
    folders = list(published_sets(run.corpus.store))
    sets = tuple((f.path, len(write_before(f, plan)["paths"])) for f in folders)
    tars = list(range(sum(count for _, count in sets)))
    yield "sets", SetTask(*place, sets), tars
    # This point is reached when the sets are published without the records.
    lost = plan_lost(run.corpus.store, folders, plan)
    now = tuple((folder.path, len(folder.manifest())) for folder in lost)
    yield "texts", SaidTask(*place, now), list(range(sum(count for _, count in now)))
    files = list(range(plan_states(run.corpus.store, lost, plan)))
    yield "text states", StatesTask(*place), files
    yield "proof of absence in text states", StatesTask(*place, prove=True), files
    yield "proof of absence", ProveTask(*place), shards
    yield "proof of absence in sets", ProveSetTask(*place, sets), tars


def _what(run: Run, plan: TakedownPlan) -> Iterator[str]:
    records = plan.records
    pictures = records.num_rows - records["offset"].null_count
    size = pc.sum(records["size"]).as_py() or 0
    yield (
        f"takedown {plan.name}: {counted(records.num_rows, 'record')}, {pictures:,} of them with "
        "a picture "
        f"({size:,} bytes), in {len(plan.shards()):,} of {len(run.corpus.shards()):,} image shards"
    )


def _publish_again(store: Store, plan: TakedownPlan) -> None:
    """Writes the selections' markers, in which the records count as failed."""
    import json

    for hashed, content in plan.selections.items():
        data = json.dumps(content, sort_keys=True, indent=1).encode()
        store.put(f"tables/selection/{hashed}/{MARKER}", data)
        for name in store.list(f"tables/selection/{hashed}/_walk"):
            # Intermediate files of `select`, which a complete selection no longer needs.
            store.remove(f"tables/selection/{hashed}/_walk/{name}")


def _remove_pages(store: Store, plan: TakedownPlan) -> int:
    """Removes pages of runs that show any of the records; returns their number."""
    ids = {ident.encode() for ident in plan.ids()}
    removed = 0
    for path in store.find(RUNS):  # a training's page lies in a folder of its own
        if path.endswith(".html"):
            page = read_whole(store, path)
            if any(match[1] in ids for match in _IDS.finditer(page)):
                store.remove(path)
                removed += 1
    return removed


def _end(run: Run, plan: TakedownPlan, counts: Mapping[str, int]) -> None:
    """Writes the record of what was done, and reports it."""
    corpus = run.corpus
    corpus.store.sweep("", deep=True)  # incomplete files of workers that died
    after = {
        tar_name(shard): {"before": plan.tars[f"{shard:06d}"], "after": digest}
        for shard, digest in tar_digests(corpus, list(map(int, plan.tars)))
    }
    # Nothing specific to this command, so that interruptions do not affect the content.
    content = {
        "records": plan.records.num_rows,
        "reason": TAKEN_DOWN,
        "tars": after,
        "proven": True,
    }
    folders = list(published_sets(corpus.store))
    lost = lost_of(folders, plan)
    left = not_reached(corpus.store, lost, [folder.path for folder in folders])
    plan.write_done(corpus.store, {**content, **left})
    report = StageReport(Takedown.name)
    report.summary.rows = report.summary.done = plan.records.num_rows
    report.summary.extra.update(counts)
    run.keep(report, quiet=True)
    run.say(
        f"takedown: done and proven absent. Rewritten: {counts['tars']:,} image tars, "
        f"{counted(counts['parts'], 'part')} of tables, {counted(counts['set_tars'], 'tar')} of "
        "sets; removed: "
        f"{counts['pages']:,} pages of reports. Later ingests refuse them as `{TAKEN_DOWN}`"
    )
    run.say(f"  the record of it: {corpus.store.url(plan.folder)}")
    for line in said(corpus.store, left):
        run.say(line)
