"""Fixtures that several test modules share."""

import gc
import logging
import os

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray's workers are as important as the other half of the tests: with its own 15 they starve.
os.environ.setdefault("RAY_worker_niceness", "0")

# A busy machine is slow, which is no fault of what is tested.
patient = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("patient", max_examples=30, **patient)
settings.register_profile("thorough", max_examples=100, **patient)  # of scripts/test --all
settings.load_profile("patient")

# Files that need what takes seconds to start or to import: Ray, openai, diffusers, transformers.
TOGETHER = {
    "ray": (
        "tests/scripts/test_bench_runner.py",
        "tests/scripts/test_bench_score.py",
        "tests/scripts/test_bench_select.py",
        "tests/nucleus_data/commands/test_on_ray.py",
        "tests/nucleus_data/runner/test_actor.py",
        "tests/nucleus_data/runner/test_guarded.py",
        "tests/nucleus_data/runner/test_loop.py",
        "tests/nucleus_data/runner/test_rows.py",
    ),
    "servers": (
        "tests/nucleus_data/engines/test_captioner_server.py",
        "tests/nucleus_data/engines/test_server_",
        "tests/nucleus_data/stages/caption/test_server.py",
    ),
    "models": (
        "tests/nucleus_data/engines/test_clip_transformers.py",
        "tests/nucleus_data/engines/test_embedder.py",
        "tests/nucleus_data/line/test_check.py",
        "tests/nucleus_model/checkpoints/",
        "tests/nucleus_model/encoders/",
        "tests/nucleus_model/data/test_latents.py",
        "tests/nucleus_model/network/",
        "tests/nucleus_model/sampling/",
        "tests/nucleus_model/settings/test_presets.py",
        "tests/nucleus_model/test_main.py",
        "tests/nucleus_model/training/",
        "tests/scripts/examples/",
        "tests/scripts/nano/",
        "tests/scripts/test_all.py",
        "tests/scripts/test_bench_model.py",
    ),
}


# Files of minutes; begun first, so that none is left alone at the end.
LONGEST = (
    "tests/scripts/test_bench_learning.py",
    "tests/nucleus_data/runner/test_kills.py",
    "tests/nucleus_model/network/test_distributed.py",
    "tests/nucleus_data/engines/test_captioner_server_vllm.py",
    "tests/nucleus_data/line/test_line.py",
    "tests/nucleus_data/line/test_real_pictures.py",
    "tests/nucleus_data/corpus/test_object_store.py",
    "tests/nucleus_data/runner/test_job_submit.py",
    "tests/test_docs_run.py",
    "tests/nucleus_data/engines/test_nano_models.py",
    "tests/scripts/test_verdict_self_test.py",
    "tests/scripts/test_bench_fetch.py",
    "tests/nucleus_model/training/verdict/test_compare.py",
)


def together(nodeid):
    """The tests that one process does: those of a file, or of files that need the same."""
    for name, files in TOGETHER.items():
        if nodeid.startswith(files):
            return name
    return nodeid.split("::")[0]


class FilesTogether(LoadScopeScheduling):
    """Sends a file's tests to one of the parallel processes, so that what they share is made once.

    (`--dist loadgroup` would do it by a mark, but pytest-xdist 3.8 writes the group into a field
    that pytest 9.2 no longer reads.)
    """

    def _split_scope(self, nodeid: str) -> str:
        return together(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False  # the order is that of `pytest_collection_modifyitems`
    return FilesTogether(config, log)


def pytest_collection_modifyitems(items):
    """The long ones first."""
    order = {name: place for place, name in enumerate([*LONGEST, *TOGETHER])}
    items.sort(key=lambda item: order.get(together(item.nodeid), len(order)))


def pytest_collection(session):
    """What is imported stays: to look for garbage among it again and again takes a second."""
    gc.disable()


def pytest_collection_finish(session):
    """What was imported is not looked through again by each garbage collection."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(10_000)  # of what a test leaves there is little: 700 cost seconds


@pytest.fixture(scope="session")
def ray_cluster():
    """A local Ray with two workers, for all tests of a session that need one."""
    from nucleus_data.runner.cluster import RaySettings, connected

    with connected(RaySettings(num_cpus=2)):
        logging.getLogger("ray").setLevel(logging.ERROR)
        yield
