"""What runs the fetcher: to its end, wherever it is called from; imports are no garbage."""

import asyncio
import gc

import pytest

from nucleus_data.stages.ingest.http.running import _frozen_by_others, run


@pytest.fixture(autouse=True)
def thawed():
    """The tests' own session leaves its imports out for good; here that is undone for a while."""
    before = gc.get_freeze_count()
    gc.unfreeze()
    _frozen_by_others.cache_clear()
    yield
    _frozen_by_others.cache_clear()
    if before:
        gc.freeze()


@pytest.fixture
def looked():
    """How many objects the collector leaves out, each time that `look` ran; and `look`."""
    counts = []

    async def look():
        counts.append(gc.get_freeze_count())

    return counts, look


def test_what_was_there_before_is_left_out_for_as_long_as_it_runs(looked):
    counts, look = looked
    run(look())
    assert counts[0] > 10_000
    assert gc.get_freeze_count() == 0


def test_it_counts_again_after_an_error_too():
    async def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run(fail())
    assert gc.get_freeze_count() == 0


@pytest.mark.slow
def test_what_somebody_else_left_out_stays_so(looked):
    counts, look = looked
    gc.freeze()
    before = gc.get_freeze_count()
    run(look())
    # Some of it ends in the meantime; nothing comes to it.
    assert before - 1_000 < gc.get_freeze_count() <= counts[0] <= before


@pytest.mark.slow
def test_it_runs_where_a_loop_runs(looked):
    counts, look = looked

    async def notebook():
        run(look())

    asyncio.run(notebook())
    assert len(counts) == 1
