"""How the runs of a comparison are done: one after the other, or some at once.

A loop takes runs and yields each as it ends. Ray's is `nucleus_data.stages.train`.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from nucleus_model.data.kept import Kept
from nucleus_model.training.verdict.run import RunSpec, do_run

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
        # Spawned: torch's threads do not survive a fork.
        with ProcessPoolExecutor(most, mp_context=get_context("spawn")) as pool:
            futures = {pool.submit(_in_worker, spec): spec for spec in specs}
            try:
                for future in as_completed(futures):
                    future.result()
                    yield futures[future]
            finally:
                # What has not begun is not begun when one fails, or when nobody waits any more.
                pool.shutdown(wait=True, cancel_futures=True)

    return loop


# Of a worker process, which ends with its comparison.
_kept: list[Kept] = []


def _in_worker(spec: RunSpec) -> None:
    if not _kept:
        _kept.append(Kept())
    do_run(spec, _kept[0])
