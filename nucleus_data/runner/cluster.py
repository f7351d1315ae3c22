"""Connecting to Ray: a job's cluster when there is one, a local one otherwise."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.errors import RequestError

OBJECT_STORE_BYTES = 100 << 20  # only summaries pass through it


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


@contextmanager
def on_demand(settings: RaySettings) -> Iterator[Callable[[], None]]:
    """Gives a function that connects to Ray, once; what was started is stopped at the end.

    What is wrong with a request is then told before Ray, which takes seconds to start, is there.
    """
    with ExitStack() as stack:
        there = False

        def connect() -> None:
            nonlocal there
            if not there:
                stack.enter_context(connected(settings))
                there = True

        yield connect


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
    address = settings.address or os.environ.get("RAY_ADDRESS")
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
