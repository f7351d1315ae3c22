"""Runs the trainings of a comparison as tasks of a Ray cluster, each on one core.

    compare(a, b, out, settings, loop=RayRuns(workers.connect))

A task is only given an arm and a number. It reads the comparison's plan from the comparison's
folder and writes its files there, so several machines need a folder that all of them can reach. A
run is a pure function of the plan, so a run whose worker died is repeated.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from nucleus_data.corpus import told
from nucleus_data.errors import CorpusError, RequestError, StoppedError
from nucleus_data.runner.cluster import LostError, wait_for
from nucleus_data.runner.cwd import stand_somewhere
from nucleus_model.training.verdict.run import PLAN, RunSpec, do_run

ATTEMPTS = 3
POLL_S = 1.0
ENDED_WITHIN_S = 10.0


class RayRuns:
    """Executes runs as Ray tasks; the `loop` of `compare`.

    Args:
        connect: Connects to Ray; called if there is a run to do.
    """

    def __init__(self, connect: Callable[[], None]) -> None:
        self.connect = connect

    def __call__(self, specs: Sequence[RunSpec]) -> Iterator[RunSpec]:
        """Executes the runs, as many at once as there are cores; yields each when it ends.

        Raises:
            RequestError, CorpusError: A run raised it.
            StoppedError: A run raised another error, or its workers died.
        """
        if not specs:
            return
        self.connect()
        import ray

        from nucleus_data.runner.pool import DEATHS

        task = ray.remote(run_remotely).options(num_cpus=1, max_retries=0)

        def send(spec: RunSpec) -> ray.ObjectRef:
            # A worker may stand in another folder than this process does.
            absolute = replace(spec, out=str(Path(spec.out).resolve()))
            return task.remote(absolute, told.remembered())

        running = {send(spec): (spec, 1) for spec in specs}
        try:
            while running:
                for reference in wait_for(list(running), POLL_S):
                    spec, attempt = running.pop(reference)
                    try:
                        ray.get(reference)
                    except DEATHS as error:
                        if attempt == ATTEMPTS:
                            raise StoppedError(_died(spec, error)) from error
                        running[send(spec)] = (spec, attempt + 1)
                        continue
                    except ray.exceptions.RayTaskError as error:
                        raise _cause(spec, error) from error
                    yield spec
        except LostError:
            running.clear()  # a call to a Ray that is gone would wait for ever
            raise
        finally:
            # What has not begun is not begun when one fails, or when nobody waits any more; and
            # what has is over before another process goes on in its folder.
            for reference in running:
                ray.cancel(reference, force=True)
            if running:
                ray.wait(list(running), num_returns=len(running), timeout=ENDED_WITHIN_S)


def run_remotely(spec: RunSpec, asked: dict[str, told.Asked]) -> None:
    """Executes a run in a worker.

    Raises:
        RequestError: This machine cannot reach the comparison's folder.
        Otherwise as `do_run`.
    """
    stand_somewhere()
    told.adopt(asked)
    if not (Path(spec.out) / PLAN).is_file():
        import socket

        raise RequestError(
            f"the machine {socket.gethostname()} cannot access the folder {spec.out}; set --out to "
            "a folder that all machines of the cluster can access"
        )
    do_run(spec)


def _died(spec: RunSpec, error: Exception) -> str:
    return (
        f"run {spec.folder.name}: its worker died {ATTEMPTS} times ({type(error).__name__}; the "
        "memory may be full). What is done is kept; run the same command again to continue"
    )


def _cause(spec: RunSpec, error: Exception) -> Exception:
    """Returns what a run raised if commands handle its type, otherwise a `StoppedError`."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, RequestError | CorpusError | StoppedError | ImportError):
        return cause
    kind = type(cause if isinstance(cause, Exception) else error).__name__
    return StoppedError(f"run {spec.folder.name}: {kind}: {cause if cause else error}")
