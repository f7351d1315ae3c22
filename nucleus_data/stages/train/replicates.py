"""The runs of a comparison as tasks of a Ray cluster, each on one core.

    compare(a, b, out, settings, loop=RayRuns(workers.connect))

Only an arm and a number go out; a run reads the comparison's plan from its folder and leaves its
files there, so several machines need a folder that all of them see. A run is a pure function of the
plan: one whose worker died is done again.
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
    """The loop over Ray's tasks.

    Args:
        connect: Connects to Ray; called when there is a run to do.
    """

    def __init__(self, connect: Callable[[], None]) -> None:
        self.connect = connect

    def __call__(self, specs: Sequence[RunSpec]) -> Iterator[RunSpec]:
        """Does the runs, as many at once as there are cores; yields each as it ends.

        Raises:
            RequestError, CorpusError: A run says so.
            StoppedError: A run ended in another way, or its workers died.
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
    """Does a run in a worker.

    Raises:
        RequestError: This machine does not see the comparison's folder.
        As `do_run` does.
    """
    stand_somewhere()
    told.adopt(asked)
    if not (Path(spec.out) / PLAN).is_file():
        import socket

        raise RequestError(
            f"the machine {socket.gethostname()} does not see the folder {spec.out}; give --out a "
            "folder that all machines of the cluster see"
        )
    do_run(spec)


def _died(spec: RunSpec, error: Exception) -> str:
    return (
        f"run {spec.folder.name}: its worker died {ATTEMPTS} times ({type(error).__name__}; the "
        "memory may be full). What is done stays; the same command goes on"
    )


def _cause(spec: RunSpec, error: Exception) -> Exception:
    """What a run raised, as the same kind where it is one that commands know."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, RequestError | CorpusError | StoppedError | ImportError):
        return cause
    kind = type(cause if isinstance(cause, Exception) else error).__name__
    return StoppedError(f"run {spec.folder.name}: {kind}: {cause if cause else error}")
