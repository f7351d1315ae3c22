"""Rows of measured pictures: of a world, in memory, or of any files."""

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from typing import Any, TypeVar

from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.signals import SignalGroup, load_group
from nucleus_data.world.expected import CLIPPED, PALE, TWIN
from nucleus_data.world.plan import NONE, STRENGTHS, WorldPlan, WorldSettings
from nucleus_data.world.write import make

Row = dict[str, Any]
Work = TypeVar("Work")
_NEAR_WHITE = 250


@dataclass(frozen=True)
class Bench:
    """What is measured of a world.

    Attributes:
        world: The world.
        signals: Groups, by their paths.
    """

    world: WorldSettings
    signals: tuple[str, ...]


def file_row(
    signals: tuple[str, ...], fault: str, strength: str, data: bytes, filename: str
) -> Row:
    """A file's truth, and its values or the reason why there are none.

    Args:
        signals: Groups, by their paths.
        fault: What was planted.
        strength: One of `STRENGTHS`, or empty.
        data: The file.
        filename: Its name.
    """
    row: Row = {
        "fault": fault,
        "strength": strength,
        "sha256": hashlib.sha256(data).hexdigest(),
        "error": None,
    }
    try:
        picture = open_picture(data)
        picture.luma_full  # noqa: B018 - as in `inspect`: whether all of it decodes
        for group in groups(signals):
            row |= group.measure(picture, filename)
        if fault == "over_exposed":
            clipped = float((picture.small.max(axis=2) >= _NEAR_WHITE).mean())
            row["fault"] = fault if clipped >= CLIPPED else PALE
    except PixelError as error:
        row["error"] = error.reason.value
    return row


def world_rows(bench: Bench, index: int) -> list[Row]:
    """Makes and measures a picture; one that is stored turned has its upright twin beside it."""
    plan = _plan(bench.world)
    planned = plan[index]
    made = [(planned.fault, *make(plan, planned))]
    if planned.fault == "oriented":
        upright = replace(planned, fault=NONE, format="JPEG", quality=88)
        made.append((TWIN, *make(plan, upright)))
    rows = [
        file_row(bench.signals, fault, truth["strength"], data, truth["file"])
        for fault, data, truth in made
    ]
    for row in rows:
        row |= {"scene": planned.scene, "index": index, "original": planned.original}
    if len(rows) == 2:
        twin = {"strength": rows[0]["strength"], "original": index}
        rows[1] |= twin | {"index": bench.world.images + index}
    return rows


@cache
def _plan(world: WorldSettings) -> WorldPlan:
    return WorldPlan(world)


@cache
def groups(paths: tuple[str, ...]) -> list[SignalGroup]:
    """The groups of these paths."""
    return [load_group(path) for path in paths]


def _world_chunk(work: tuple[Bench, range]) -> list[Row]:
    return [row for index in work[1] for row in world_rows(work[0], index)]


def world(bench: Bench, workers: int) -> list[Row]:
    """Makes and measures all pictures of a world, in the plan's order."""
    whole = range(bench.world.images)
    chunks = [(bench, whole[start : start + 32]) for start in range(0, len(whole), 32)]
    return list(spread(_world_chunk, chunks, workers))


def spread(
    work: Callable[[Work], list[Row]], chunks: Sequence[Work], workers: int
) -> Iterator[Row]:
    """What `work` gives for each chunk, in order, over some processes."""
    if workers == 1:
        yield from _reported(map(work, chunks), len(chunks))
        return
    context = get_context("spawn")  # a fork of a process with threads may hang
    with ProcessPoolExecutor(workers, context) as pool:
        yield from _reported(pool.map(work, chunks), len(chunks))


def _reported(found: Iterator[list[Row]], chunks: int) -> Iterator[Row]:
    for done, rows in enumerate(found):
        if done % 20 == 0:
            print(f"{done} of {chunks} chunks", file=sys.stderr, flush=True)
        yield from rows


def strengths(rows: Sequence[Row], fault: str) -> Iterator[tuple[str, list[int]]]:
    """Yields each strength of a fault that there is, with the places of its rows."""
    for strength in STRENGTHS:
        places = [i for i, r in enumerate(rows) if (r["fault"], r["strength"]) == (fault, strength)]
        if places:
            yield strength, places
