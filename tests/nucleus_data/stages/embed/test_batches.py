"""Rows through models in batches: across shards, in any company, with failures, without end."""

import threading
import time

import numpy as np
import pytest

from nucleus_data.stage import Row
from nucleus_data.stages.embed.batches import AHEAD, Batches, Clock, Lane
from tests.support.curated import picture
from tests.support.embedded import FakeClip

PICTURES = [picture(i, (40, 30)) for i in range(11)]


def row(number, wanted=("image", "text"), data=None, caption="", shard=0):
    image = PICTURES[number % len(PICTURES)] if data is None else data
    columns = {"caption": caption}
    return Row(shard, number, f"{number:032x}", "f", image, columns, frozenset(wanted))


def batches(*models, threads=2, clock=None):
    lanes = [
        Lane(model, *(f"{name}{i or ''}" for name in ("image", "text")))
        for i, model in enumerate(models)
    ]
    return Batches(lanes, lambda r: r.columns["caption"], threads, clock or Clock())


def vectors(works):
    return {(w.row.shard, w.row.row): {t: v.tolist() for t, v in w.vectors.items()} for w in works}


def test_every_row_comes_back_once_with_the_vectors_that_it_has_alone():
    rows = [row(i, caption="a" * (i % 3), shard=i % 2) for i in range(40)]
    rows += [row(40, wanted=()), row(41, wanted=("text",), caption="eo", data=b"")]
    alone = vectors(work for r in rows for work in batches(FakeClip(1)).run(iter([r])))
    clip = FakeClip(8)
    found = list(batches(clip).run(iter(rows)))
    assert len(found) == len(rows)
    assert vectors(found) == alone
    assert clip.batches == 5  # full ones, whatever shards their rows are of
    assert {type(v) for work in found for v in work.vectors.values()} == {np.ndarray}
    assert found[0].vectors["image"].dtype == np.float16


def test_a_picture_that_cannot_be_read_costs_itself_alone():
    rows = [row(i, data=b"no picture" if i == 3 else None, caption="a") for i in range(9)]
    found = {work.row.row: work for work in batches(FakeClip(4)).run(iter(rows))}
    assert found.pop(3).failure.reason == "not_an_image"
    assert len(found) == 8
    assert all(work.failure is None and len(work.vectors) == 2 for work in found.values())
    clip = FakeClip(4)
    assert [w.failure.reason for w in batches(clip).run(iter([row(0, data=b"")]))] == ["empty"]
    assert clip.batches == 0


def test_what_inspect_was_told_to_read_is_read():
    """A picture that by itself is too long: `inspect.max_aspect` may say otherwise."""
    (found,) = batches(FakeClip(1)).run(iter([row(0, data=picture(1, (3000, 2)))]))
    assert found.failure is None


def test_models_with_other_batches_share_a_row():
    one, other = FakeClip(2), FakeClip(5)
    wanted = ("image", "text", "image1", "text1")
    rows = [row(i, wanted, caption="o") for i in range(7)]
    for work in batches(one, other).run(iter(rows)):
        assert work.vectors.keys() == set(wanted)
        np.testing.assert_array_equal(work.vectors["image"], work.vectors["image1"])
    assert (one.batches, other.batches) == (4, 2)
    assert one.prepared == other.prepared == 7


def test_what_is_held_is_given_back_when_no_row_is_waiting():
    given = []

    def rows():
        yield row(0, caption="a")
        while not given:
            yield None
        yield row(1)
        while len(given) < 2:
            yield None

    # One by one: the rows wait for what was given back.
    for work in batches(FakeClip(4)).run(rows()):
        given += [work.row.row]
    assert given == [0, 1]


@pytest.mark.parametrize(("batch", "threads", "rows_ahead"), [(2, 2, 2 * (AHEAD + 1)), (1, 4, 9)])
def test_rows_are_taken_ahead_to_a_bound_and_no_further(batch, threads, rows_ahead):
    """And far enough for all threads."""
    gate = threading.Event()

    class Held(FakeClip):
        def prepare(self, picture, pixels):
            gate.wait(5)
            super().prepare(picture, pixels)

    taken = []

    def rows():
        for i in range(100):
            taken.append(i)
            yield row(i)

    running = batches(Held(batch), threads=threads).run(rows())
    opener = threading.Timer(0.1, lambda: (ahead.append(len(taken)), gate.set()))
    ahead = []
    opener.start()
    assert len(list(running)) == 100
    assert ahead == [rows_ahead]


def test_what_a_thread_raises_is_raised_and_what_is_queued_is_dropped():
    class Raising(FakeClip):
        def prepare(self, picture, pixels):
            raise MemoryError("no room")

    before = set(threading.enumerate())
    with pytest.raises(MemoryError, match="no room"):
        list(batches(Raising(2)).run(iter([row(i) for i in range(9)])))
    running = batches(FakeClip(1)).run(iter([row(i) for i in range(9)]))
    next(running)
    running.close()
    assert set(threading.enumerate()) <= before


def test_the_clock_knows_a_busy_model_from_one_that_waits():
    class Slow(FakeClip):
        def start_images(self, pixels):
            time.sleep(0.02)
            return super().start_images(pixels)

    class SlowPixels(FakeClip):
        def prepare(self, picture, pixels):
            time.sleep(0.02)
            super().prepare(picture, pixels)

    shares = []
    for model in (Slow(2), SlowPixels(2)):
        clock = Clock()
        list(batches(model, threads=1, clock=clock).run(iter([row(i) for i in range(6)])))
        spent = clock.take()
        shares.append(spent["model"] / (spent["model"] + spent["model_waits"]))
        assert clock.take() == {}
    assert shares[0] > 0.7
    assert shares[1] < 0.3


@pytest.mark.parametrize("error", [TimeoutError, OSError])
def test_a_time_out_of_a_thread_is_no_part_that_is_not_ready(error):
    class Raising(FakeClip):
        def prepare(self, picture, pixels):
            raise error("of the thread")

    with pytest.raises(error, match="of the thread"):
        list(batches(Raising(2)).run(iter([row(0), None, None])))
