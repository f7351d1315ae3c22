"""What does the work: a worker of this machine where it is small, else Ray's.

A job's cluster when there is one, a Ray of this machine otherwise.
"""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.errors import RequestError, StoppedError
from nucleus_data.runner.work import Resources, Size

if TYPE_CHECKING:
    from nucleus_data.runner.local import LocalWorker

OBJECT_STORE_BYTES = 100 << 20  # only summaries pass through it
REACHED_WITHIN_S = 5.0
NEEDED = ("raylet", "gcs_server")
REACH = "ray.address and RAY_ADDRESS say where it is: host:port of a running cluster, or auto"
START = (
    "it needs room and a short path in its temporary folder (RAY_TMPDIR, by default /tmp) and room "
    "in /dev/shm. Small work needs no Ray: see ray.local"
)


class LostError(StoppedError):
    """A process of Ray's has ended, and with it all that Ray does."""


class LocalSettings(BaseModel):
    """Which work is done without Ray."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: int = Field(
        8,
        ge=0,
        description="Work on at most so many image shards (or other items), and on at most `rows` "
        "records, is done in one process of this machine without starting Ray; 0: none is. Never "
        "where a cluster is named, nor with GPUs or several model actors.",
    )
    rows: int = Field(1000, ge=0, description="See `items`.")


class RaySettings(BaseModel):
    """Where the work runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = Field(
        None,
        description="A running cluster ('auto' or host:port); "
        "by default RAY_ADDRESS, else a local one.",
    )
    num_cpus: int | None = Field(
        None, ge=1, description="CPUs of a local cluster; by default those that the machine has."
    )
    local: LocalSettings = LocalSettings()


def inside_job() -> bool:
    """Whether this process is the driver of a submitted Ray job."""
    return bool(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR"))


def check_corpus_uri(uri: str) -> None:
    """Refuses a relative local path inside a Ray job.

    What is written there would land in Ray's temporary folder and be lost.

    Raises:
        RequestError: The path is relative and this is a Ray job.
    """
    if inside_job() and "://" not in uri and not Path(uri).is_absolute():
        raise RequestError(
            f"corpus={uri!r} is relative, and this is a Ray job: it would land in "
            "Ray's temporary folder. Give an absolute path on storage that every node sees, "
            "or a URL such as s3://bucket/corpus"
        )


@dataclass(frozen=True)
class Machine:
    """What this machine has for Ray's workers."""

    cpus: float
    gpus: int
    memory_gb: float


def machine(settings: RaySettings) -> Machine:
    """This machine, as a local Ray would see it."""
    from ray._private import accelerators, utils

    manager = accelerators.get_accelerator_manager_for_resource("GPU")
    assert manager is not None
    visible = manager.get_current_process_visible_accelerator_ids()
    gpus = manager.get_current_node_num_accelerators()
    return Machine(
        settings.num_cpus or utils.get_num_cpus(),
        gpus if visible is None else min(gpus, len(visible)),
        utils.get_system_memory() / (1 << 30),
    )


class Workers:
    """Those of one command; each is started when there is work for it, and ended at the end.

    What is wrong with a request is then told before Ray, which takes seconds to start, is there.

    Args:
        settings: Where the work runs.
    """

    def __init__(self, settings: RaySettings) -> None:
        self.settings = settings
        self._stack = ExitStack()
        self._connected = False
        self._local: LocalWorker | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.close()

    def connect(self) -> None:
        """Connects to Ray, once."""
        if not self._connected:
            self._stack.enter_context(connected(self.settings))
            self._connected = True

    def local(self) -> "LocalWorker":
        """The worker of this machine."""
        if self._local is None:
            from nucleus_data.runner.local import LocalWorker

            self._local = LocalWorker()
            self._stack.callback(self._local.close)
        return self._local

    def does_here(self, resources: Resources, size: Size) -> bool:
        """Whether some work is small enough for `local`, and Ray is neither named nor there.

        Args:
            resources: What the work's workers would get.
            size: How much work there is.
        """
        if self._connected or named_address(self.settings) or inside_job() or _is_initialized():
            return False
        alone = not resources.num_gpus and resources.actors <= 1
        small = self.settings.local
        return alone and size.items <= small.items and size.rows(small.rows) <= small.rows


def named_address(settings: RaySettings) -> str | None:
    """The address of the running cluster that was asked for; None for a Ray of this machine."""
    return settings.address or os.environ.get("RAY_ADDRESS") or None


def _is_initialized() -> bool:
    """Whether this program is connected to Ray."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


@contextmanager
def connected(settings: RaySettings) -> Iterator[None]:
    """Connects to Ray, and leaves what it started stopped."""
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
        where = f"the Ray at {address!r} can't be reached" if address else "Ray can't be started"
        raise StoppedError(
            f"{where} ({type(error).__name__}: {first}); {REACH if address else START}"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, ending)  # Ray puts its own there, which ends with 15
    end = ray.shutdown
    try:
        yield
    except LostError:
        end = _end_what_is_left
        raise
    finally:
        end()


def _connect(address: str | None, settings: RaySettings) -> None:
    """Connects to a cluster, or starts one on this machine."""
    import ray

    if address:
        _check_port(address)
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        return
    # Workers run this code from where the driver has it, also when it is not installed.
    here = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([here, *(p for p in sys.path if p)])
    ray.init(
        address="local",
        num_cpus=settings.num_cpus,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        logging_level=logging.ERROR,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": path}},
    )


def _check_port(address: str) -> None:
    """Raises OSError if nobody listens at `host:port`: Ray itself would try for a minute."""
    host, sign, port = address.removeprefix("ray://").rpartition(":")
    if sign and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), REACHED_WITHIN_S).close()


def no_room(asked: Resources) -> bool:
    """Whether no machine of the cluster that we are connected to has room for such a worker."""
    import ray

    wanted = {"CPU": asked.num_cpus, "GPU": asked.num_gpus}
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return not any(all(has.get(k, 0) >= v for k, v in wanted.items()) for has in alive)


def wait_for(references: Sequence[Any], timeout_s: float) -> list[Any]:
    """Those of some references that are done within a time.

    Raises:
        LostError: The Ray that this process started has ended; its own calls would wait for ever.
    """
    import ray

    lost = _lost()
    if lost:
        raise LostError(
            f"Ray's process {lost} has ended (its memory may have been full); what was committed "
            "stays. Run the same command to go on"
        )
    found: list[Any] = ray.wait(list(references), timeout=timeout_s)[0]
    return found


def _lost() -> str:
    """The name of a process without which Ray does nothing, if it has ended."""
    from ray._private import worker

    node = worker._global_node
    ended: set[str] = {name for name, _ in node.dead_processes()} if node is not None else set()
    return next((name for name in NEEDED if name in ended), "")


def _end_what_is_left() -> None:
    """Ends the other processes of a Ray that has lost one; `ray.shutdown` would wait for it."""
    from ray._private import worker

    # Its listener would print the end of the lost process's log.
    worker.print_to_stdstream = lambda *_, **__: None
    if worker._global_node is not None:
        worker._global_node.kill_all_processes(check_alive=False, allow_graceful=False)
