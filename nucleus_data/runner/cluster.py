"""What does the work: a worker of this machine where it is small, else Ray's.

A job's cluster when there is one, a Ray of this machine otherwise.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.errors import RequestError
from nucleus_data.runner.work import Resources, Size

if TYPE_CHECKING:
    from nucleus_data.runner.local import LocalWorker

OBJECT_STORE_BYTES = 100 << 20  # only summaries pass through it


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
    if address:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    else:
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
    try:
        yield
    finally:
        ray.shutdown()
