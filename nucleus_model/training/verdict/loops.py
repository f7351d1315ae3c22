"""Executes the runs of a comparison: one after the other, or several processes at once.

A loop takes runs, and yields each one as it ends. The loop for Ray is in
`nucleus_data.stages.train`.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

from nucleus_model.data.kept import Kept
from nucleus_model.training.verdict.run import RunSpec, do_run

WATCH_S = 1.0
T = TypeVar("T")
Loop = Callable[[Sequence[RunSpec]], Iterator[RunSpec]]


def one_by_one(specs: Sequence[RunSpec]) -> Iterator[RunSpec]:
    """Executes the runs in this process."""
    kept = Kept()
    for spec in specs:
        do_run(spec, kept)
        yield spec


def processes(count: int | None = None) -> Loop:
    """Returns a loop that executes runs in processes of their own, each on one core.

    Args:
        count: Number of processes; None for one per core.
    """

    def loop(specs: Sequence[RunSpec]) -> Iterator[RunSpec]:
        most = min(count or os.cpu_count() or 1, len(specs))
        if most < 2:
            yield from one_by_one(specs)
            return
        yield from in_processes(_in_worker, specs, most)

    return loop


def in_processes(work: Callable[[T], object], items: Sequence[T], count: int) -> Iterator[T]:
    """Processes items in several processes, and yields each item when it is done.

    Args:
        work: The function to call with each item; must be picklable.
        items: The items.
        count: Number of processes.
    """
    # Spawned: torch's threads do not survive a fork.
    spawn = get_context("spawn")
    with ProcessPoolExecutor(count, spawn, end_with, (os.getpid(),)) as pool:
        futures = {pool.submit(work, item): item for item in items}
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        finally:
            # If one fails, or the caller stops iterating, the rest is not started.
            pool.shutdown(wait=True, cancel_futures=True)


def end_with(parent: int) -> None:
    """Makes this process end soon after its parent, even if that is killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


# What a worker process has opened; it ends with the comparison.
_kept: list[Kept] = []


def _in_worker(spec: RunSpec) -> None:
    if not _kept:
        _kept.append(Kept())
    do_run(spec, _kept[0])
