"""Connects to Ray (a named cluster, or a local one), and notices if it is lost."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.errors import RequestError, StoppedError

OBJECT_STORE_BYTES = 100 << 20  # only summaries pass through it
REACHED_WITHIN_S = 5.0
WATCHED_EACH_S = 0.5
NOTICED_WITHIN_S = 3.0
NEEDED = ("raylet", "gcs_server")
REACH = "set ray.address or RAY_ADDRESS to host:port of a running cluster, or to auto"
START = (
    "its temporary folder (RAY_TMPDIR, by default /tmp) needs free space and a short path, and "
    "/dev/shm needs free space. On a very busy machine, the start may time out: run the same "
    "command again. Small work needs no Ray: see ray.local"
)


class LostError(StoppedError):
    """A process that Ray needs has ended."""


class LocalSettings(BaseModel):
    """Limits below which work is done without Ray."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: int = Field(
        8,
        ge=0,
        description="Maximum number of image shards (or other items) that are processed in one "
        "process of this machine, without starting Ray, if they have at most `rows` records; "
        "0: never. Ray is always used with a named cluster, with GPUs, and with several model "
        "actors.",
    )
    rows: int = Field(
        1000, ge=0, description="Maximum number of records for work without Ray; see `items`."
    )


class RaySettings(BaseModel):
    """Settings of the Ray cluster that does the work."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = Field(
        None,
        description="Address of a running Ray cluster ('auto' or host:port); null: RAY_ADDRESS, "
        "or a local cluster if that is not set.",
    )
    num_cpus: int | None = Field(
        None, ge=1, description="Number of CPUs of a local cluster; null: all CPUs of the machine."
    )
    local: LocalSettings = LocalSettings()


def inside_job() -> bool:
    """Whether this process is the driver of a submitted Ray job."""
    return bool(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR"))


def check_corpus_uri(uri: str) -> None:
    """Refuses a relative local path inside a Ray job.

    It would be in Ray's temporary folder, and be lost.

    Raises:
        RequestError: The path is relative and this is a Ray job.
    """
    if inside_job() and "://" not in uri and not Path(uri).is_absolute():
        raise RequestError(
            f"corpus={uri!r} is a relative path, which in a Ray job would be in "
            "Ray's temporary folder. Give an absolute path on storage that every node can reach, "
            "or a URL such as s3://bucket/corpus"
        )


def named_address(settings: RaySettings) -> str | None:
    """Returns the address of the configured cluster; None for a local Ray."""
    return settings.address or os.environ.get("RAY_ADDRESS") or None


@contextmanager
def connected(settings: RaySettings) -> Iterator[None]:
    """Connects to Ray, and disconnects (or stops a local Ray) at the end."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray 2.60 warns about accelerators that a task with num_gpus=0 will not see unless told so.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    address = named_address(settings)
    ending = signal.getsignal(signal.SIGTERM)
    try:
        _connect(address, settings)
    except Exception as error:
        first = next((line for line in str(error).splitlines() if line.strip()), "")
        where = f"Ray at {address!r} can't be reached" if address else "Ray can't be started"
        raise StoppedError(
            f"{where} ({type(error).__name__}: {first}); {REACH if address else START}"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, ending)  # Ray installs a handler that exits with 15
    end = ray.shutdown
    over = threading.Event()
    if not address:
        threading.Thread(target=_watch, args=(over,), name="ray-watch", daemon=True).start()
    try:
        yield
    except LostError:
        end = _end_what_is_left
        raise
    finally:
        over.set()
        end()


def _connect(address: str | None, settings: RaySettings) -> None:
    """Connects to a cluster, or starts one on this machine."""
    import ray

    _gone.clear()
    if address:
        _check_port(address)
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        return
    _hush()
    with _path_of_workers():
        ray.init(
            address="local",
            num_cpus=settings.num_cpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )


@contextmanager
def _path_of_workers() -> Iterator[None]:
    """Lets the workers of a local Ray import this code from here, in case it is not installed.

    They inherit the environment of the processes that are started in the context. (With Ray's
    `runtime_env`, the workers that it starts in advance could not be used: 3 of 11 s of processor.)
    """
    here, before = str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([here, *(p for p in sys.path if p)])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _hush() -> None:
    """Keeps Ray from printing the whole log of a lost process; we report it in one line."""
    from ray._private import worker

    show = worker.print_to_stdstream
    if show.__module__ == __name__:
        return

    def shown(*given: Any, **options: Any) -> None:
        if not _lost():
            show(*given, **options)

    worker.print_to_stdstream = shown


def _check_port(address: str) -> None:
    """Raises OSError if nothing listens at `host:port`; Ray itself would retry for a minute."""
    host, sign, port = address.removeprefix("ray://").rpartition(":")
    if sign and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), REACHED_WITHIN_S).close()


def wait_for(references: Sequence[Any], timeout_s: float) -> list[Any]:
    """Waits up to a time; returns the references that are done by then.

    Raises:
        LostError: The local Ray has ended; its own calls would wait forever.
    """
    import ray

    if lost := _lost():
        raise LostError(lost)
    done: list[Any] = ray.wait(list(references), timeout=timeout_s)[0]
    return done


def _lost() -> str:
    """Returns a message if a process that Ray needs has ended; else an empty string."""
    from ray._private import worker

    node = worker._global_node
    ended: set[str] = {name for name, _ in node.dead_processes()} if node is not None else set()
    _gone.extend(name for name in NEEDED if name in ended and name not in _gone)
    if not _gone:
        return ""
    return (
        f"Ray's process {_gone[0]} has ended (possibly out of memory); all committed work is "
        "kept. Run the same command again to continue"
    )


# Kept here, as Ray forgets dead processes once the others have ended.
_gone: list[str] = []


def _watch(over: threading.Event) -> None:
    """Ends this process if a call of Ray is stuck waiting for a process that has ended.

    Such a call can't be interrupted; after a minute, Ray itself would end this process and print
    its whole log.
    """
    while not over.wait(WATCHED_EACH_S):
        if lost := _lost():
            if not over.wait(NOTICED_WITHIN_S):
                sys.stderr.write(f"error: {lost}\n")
                sys.stderr.flush()
                os._exit(1)
            return


def _end_what_is_left() -> None:
    """Kills the other processes of a Ray that has lost one; `ray.shutdown` would hang."""
    from ray._private import worker

    if worker._global_node is not None:
        worker._global_node.kill_all_processes(check_alive=False, allow_graceful=False)
