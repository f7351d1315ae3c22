"""Fixtures that several test modules share."""

import gc
import logging
import os

import pytest
from xdist.scheduler import LoadScopeScheduling

os.environ.setdefault("OMP_NUM_THREADS", "1")

ON_RAY = (
    "tests/scripts/test_bench_runner.py",
    "tests/nucleus_data/commands/test_on_ray.py",
    "tests/nucleus_data/runner/test_actor.py",
    "tests/nucleus_data/runner/test_guarded.py",
    "tests/nucleus_data/runner/test_loop.py",
    "tests/nucleus_data/runner/test_rows.py",
)


class FilesTogether(LoadScopeScheduling):
    """Sends a file's tests to one of the parallel processes, and all tests on Ray to the same one.

    So what a file shares is made once, and Ray is started once. (`--dist loadgroup` would do it by
    a mark, but pytest-xdist 3.8 writes the group into a field that pytest 9.2 no longer reads.)
    """

    def _split_scope(self, nodeid: str) -> str:
        return "ray" if nodeid.startswith(ON_RAY) else nodeid.split("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return FilesTogether(config, log)


def pytest_collection_finish(session):
    """What was imported is not looked through again by each garbage collection."""
    gc.freeze()


@pytest.fixture(scope="session")
def ray_cluster():
    """A local Ray with two workers, for all tests of a session that need one."""
    from nucleus_data.runner.cluster import RaySettings, connected

    with connected(RaySettings(num_cpus=2)):
        logging.getLogger("ray").setLevel(logging.ERROR)
        yield
