"""How the runs of a comparison are done: one after the other, or some at once.

A loop takes runs and yields each as it ends. Ray's is `nucleus_data.stages.train`.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

from nucleus_model.data.kept import Kept
from nucleus_model.training.verdict.run import RunSpec, do_run

T = TypeVar("T")
Loop = Callable[[Sequence[RunSpec]], Iterator[RunSpec]]


def one_by_one(specs: Sequence[RunSpec]) -> Iterator[RunSpec]:
    """Does the runs in this process."""
    kept = Kept()
    for spec in specs:
        do_run(spec, kept)
        yield spec


def processes(count: int | None = None) -> Loop:
    """Does the runs in processes of their own, each on one core.

    Args:
        count: How many at once; None for one a core.
    """

    def loop(specs: Sequence[RunSpec]) -> Iterator[RunSpec]:
        most = min(count or os.cpu_count() or 1, len(specs))
        if most < 2:
            yield from one_by_one(specs)
            return
        yield from in_processes(_in_worker, specs, most)

    return loop


def in_processes(work: Callable[[T], object], items: Sequence[T], count: int) -> Iterator[T]:
    """Works on items in so many processes, and yields each item as it is done.

    Args:
        work: A function of a module.
        items: What it is called with.
        count: Processes.
    """
    # Spawned: torch's threads do not survive a fork.
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(work, item): item for item in items}
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        finally:
            # What has not begun is not begun when one fails, or when nobody waits any more.
            pool.shutdown(wait=True, cancel_futures=True)


# Of a worker process, which ends with its comparison.
_kept: list[Kept] = []


def _in_worker(spec: RunSpec) -> None:
    if not _kept:
        _kept.append(Kept())
    do_run(spec, _kept[0])
