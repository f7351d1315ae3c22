"""Chooses the workers of a command: a local process for small work, otherwise Ray."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nucleus_data.runner.cluster import RaySettings, connected, inside_job, named_address
from nucleus_data.runner.work import Resources, Size

if TYPE_CHECKING:
    from nucleus_data.runner.local import LocalWorker


class Workers:
    """The workers of one command, started when there is work, and stopped at the end.

    So errors in a request are reported before Ray is started, which takes seconds.

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
        """Returns the local worker process."""
        if self._local is None:
            from nucleus_data.runner.local import LocalWorker

            self._local = LocalWorker()
            self._stack.callback(self._local.close)
        return self._local

    def does_here(self, resources: Resources, size: Size) -> bool:
        """Whether work is small enough for `local`, and Ray is neither configured nor running.

        Args:
            resources: Resources of the work's workers.
            size: The size of the work.
        """
        if self._connected or named_address(self.settings) or inside_job() or is_initialized():
            return False
        alone = not resources.num_gpus and resources.actors <= 1
        small = self.settings.local
        return alone and size.items <= small.items and size.rows(small.rows) <= small.rows


def is_initialized() -> bool:
    """Whether this program is connected to Ray."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


@dataclass(frozen=True)
class Machine:
    """The resources of this machine for Ray's workers."""

    cpus: float
    gpus: int
    memory_gb: float


def machine(settings: RaySettings) -> Machine:
    """Returns this machine's resources, as a local Ray would detect them."""
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


def no_room(asked: Resources) -> bool:
    """Whether no node of the connected cluster has room for such a worker."""
    import ray

    wanted = {"CPU": asked.num_cpus, "GPU": asked.num_gpus}
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return not any(all(has.get(k, 0) >= v for k, v in wanted.items()) for has in alive)
