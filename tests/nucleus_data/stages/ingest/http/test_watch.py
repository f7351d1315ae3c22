import asyncio

import pytest

from nucleus_data.stages.ingest.http import watch as module
from nucleus_data.stages.ingest.http.watch import Watch


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(module, "TICK_S", 0.02)


def watched(work):
    async def run():
        async with Watch(asyncio.get_running_loop().time) as watch:
            return await asyncio.wait_for(work(watch), 10)

    return asyncio.run(run())


def test_what_takes_too_long_is_ended_and_the_task_goes_on():
    async def work(watch):
        start = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError), watch.limit(0.05):
            await asyncio.sleep(5)
        await asyncio.sleep(0)
        return asyncio.get_running_loop().time() - start

    assert 0.05 <= watched(work) < 1


def test_a_limit_can_be_moved_and_ends_with_its_block():
    async def work(watch):
        with watch.limit(0.01) as limit:
            limit.at += 60
            await asyncio.sleep(2.5 * module.TICK_S)
        with watch.limit(0.01):
            pass
        await asyncio.sleep(2.5 * module.TICK_S)
        return len(watch.limits)

    assert watched(work) == 0


def test_who_is_cancelled_by_others_stays_cancelled():
    async def work(watch):
        async def inner():
            with watch.limit(60):
                await asyncio.sleep(60)

        task = asyncio.create_task(inner())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(watch.limits)

    assert watched(work) == 0


def test_other_failures_pass_through():
    async def work(watch):
        with watch.limit(60):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        watched(work)
