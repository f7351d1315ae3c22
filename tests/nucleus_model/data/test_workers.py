"""Real worker processes; each takes a second to start."""

import os
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from nucleus_data.errors import CorpusError
from nucleus_model.data.batches import Cursor
from nucleus_model.data.feed import Feed
from nucleus_model.data.reader import Request
from nucleus_model.data.workers import Workers
from tests.support.loading import Opened
from tests.support.sets import make_set

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Opened(make_set(tmp_path_factory.mktemp("workers") / "set", {"64/1x1": 12}).url())


@contextmanager
def workers(made, **changes):
    values = {"count": 2, "batch_bytes": 8 * 64 * 64 * 3, "ahead": 2, "joined": False}
    values |= {"timeout_s": 60.0} | changes
    with Workers(made.set.source, **values) as found:
        yield found


def request(tars, rows, size=(64, 64)):
    return Request(tars, rows, size, ["0"] * len(tars), seed=0, dropout=0.0, weights=None)


def children():
    return [p for p in psutil.Process().children() if "nucleus_model.data.worker" in p.cmdline()]


def test_a_worker_that_is_killed_is_started_anew_and_nothing_is_lost(made):
    with workers(made) as found:
        for number in range(4):
            found.submit(request([0, 1, 2], [1, 2, 3]))
            if number == 1:
                for child in children():
                    os.kill(child.pid, signal.SIGKILL)
            loaded, pixels = found.take()
            assert not loaded.failures
            assert loaded.ids == [made.ident(t, t + 1) for t in range(3)]
            for tar, image in enumerate(pixels):
                assert (image == made.set.image(made.set.sample_at(tar, tar + 1))).all()
        assert found.renewed >= 1
    assert not children()


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux")
def test_a_request_does_not_take_the_core_from_who_sends_it(made):
    with workers(made) as found:
        found.submit(request([0, 1], [1, 2]))
        found.take()
        policies = [os.sched_getscheduler(child.pid) for child in children()]
    assert policies == [os.SCHED_BATCH] * 2


def test_a_picture_that_ends_or_holds_up_its_worker_fails_alone(made, tmp_path, monkeypatch):
    # A module of this name is imported by every Python process that starts with this path.
    ends, hangs = (made.set.tables.places(0)["size"][n] for n in (1, 2))
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\n"
        "import nucleus_data.pixels as pixels\n"
        "opened = pixels.open_picture\n"
        "def open_picture(data, *rest):\n"
        f"    if len(data) == {ends}: os._exit(9)\n"
        f"    if len(data) == {hangs}: time.sleep(60)\n"
        "    return opened(data, *rest)\n"
        "pixels.open_picture = open_picture\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path.cwd()}")
    with workers(made, timeout_s=1.5) as found:
        found.submit(request([0, 0, 0, 0], [0, 1, 2, 3]))
        loaded, _ = found.take()
    assert set(loaded.failures) == {1, 2}
    assert loaded.failures[1] == "its decoding ended the process (exit code 9)"
    assert loaded.failures[2] == "its decoding took longer than 1.5 s"


def test_a_set_that_cannot_be_read_is_an_error_here(made, tmp_path):
    folder = make_set(tmp_path / "set", {"64/1x1": 4}).url()
    other = Opened(folder)
    next(Path(folder).rglob("captions/*/64/*/*.parquet")).unlink()
    with workers(other) as found:
        found.submit(request([0], [0]))
        with pytest.raises(CorpusError, match=r"FileNotFoundError: .*000000.parquet"):
            found.take()


def test_what_is_under_way_at_the_end_is_forgotten_and_no_process_stays(made):
    settings = made.settings.model_copy(
        update={"loader": made.settings.loader.model_copy(update={"workers": 2})}
    )
    made.set.loader = settings.loader
    plans = made.plans.batches(Cursor(), made.share)
    with Feed(made.set, plans, made.phase, settings, made.plans.batch_sizes) as feed:
        first = next(iter(feed))
        assert len(first.ids) == 4
        assert feed.workers.under_way == settings.loader.ahead
    assert not children()
    assert isinstance(first.images, np.ndarray)
