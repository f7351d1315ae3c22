import asyncio
from itertools import pairwise

import pytest

from nucleus_data.stages.ingest.http.breaker import Breaker
from nucleus_data.stages.ingest.http.lanes import Bounds, Domain, Job, Lane
from nucleus_data.stages.ingest.http.schedule import Schedule


def bounds(connections=100.0, rate=1e9):
    return Bounds(connections, 1 / rate)


def lane_maker(known=True, **hosts):
    """Makes lanes: of the bounds given by name (`domain` for all hosts' domain)."""
    shared = Domain(hosts.pop("domain", bounds()))
    return lambda host: Lane(host, hosts.get(host, bounds()), shared, Breaker(0), known=known)


def played(jobs, workers=4, seconds=None, make=None, limit=30):
    """Does jobs (host, number); returns (host, number, began, ended), as they ended."""
    done = []

    async def run():
        loop = asyncio.get_running_loop()
        schedule = Schedule(make or lane_maker(), loop.time)
        start = loop.time()
        for index, (host, _) in enumerate(jobs):
            schedule.add(Job(index, "", "", host))

        async def work():
            while (taken := await schedule.take()) is not None:
                job, lane = taken
                began = loop.time()
                if not lane.known:
                    schedule.open(lane, job)
                    schedule.end(lane, 0)
                    continue
                await asyncio.sleep((seconds or {}).get(job.host, 0.001))
                ended = loop.time()
                done.append((*jobs[job.index], began - start, ended - start))
                schedule.over()
                schedule.end(lane, ended - began)

        await asyncio.wait_for(asyncio.gather(*(work() for _ in range(workers))), limit)

    asyncio.run(run())
    return done


def most_at_once(done, host=None):
    events = []
    for name, _, began, ended in done:
        if host in (None, name):
            events += [(began, 1), (ended - 1e-9, -1)]
    open_now = most = 0
    for _, change in sorted(events):
        open_now += change
        most = max(most, open_now)
    return most


def test_hosts_take_turns():
    jobs = [("a", n) for n in range(5)] + [("b", n) for n in range(5)]
    done = played(jobs, workers=2)
    # One connection each: the second worker goes to the other host.
    assert (most_at_once(done, "a"), most_at_once(done, "b")) == (1, 1)
    assert [n for host, n, *_ in done if host == "b"] == list(range(5))
    # With nobody else to ask, a host has more of them.
    assert most_at_once(played(jobs[:5], workers=2, seconds={"a": 0.01}), "a") == 2


def test_a_slow_host_holds_nobody():
    jobs = [("slow", n) for n in range(20)] + [(f"h{n % 10}", n) for n in range(100)]
    make = lane_maker(slow=bounds(2))
    done = played(jobs, workers=8, seconds={"slow": 0.03}, make=make)
    others = [ended for host, *_, ended in done if host != "slow"]
    assert len(done) == 120
    assert most_at_once(done, "slow") == 2
    assert max(others) < 0.5 * max(ended for *_, ended in done)


def test_limits_on_connections_of_a_host_and_of_its_domain():
    jobs = [(host, n) for n in range(15) for host in ("a", "b", "c")]
    make = lane_maker(a=bounds(3), b=bounds(3), c=bounds(3), domain=bounds(5))
    done = played(jobs, workers=20, seconds=dict.fromkeys("abc", 0.005), make=make)
    assert len(done) == 45
    assert all(most_at_once(done, host) <= 3 for host in "abc")
    assert most_at_once(done) == 5


@pytest.mark.parametrize("limited", ["host", "domain"])
def test_limits_on_rate(limited):
    slow = bounds(100, 100)
    make = lane_maker(a=slow) if limited == "host" else lane_maker(domain=slow)
    done = played([("a", n) for n in range(10)], workers=10, make=make)
    starts = sorted(began for *_, began, _ in done)
    assert starts[-1] >= 0.089
    assert min(b - a for a, b in pairwise(starts)) > 0.005


def test_less_than_one_connection_is_one_with_pauses():
    done = played(
        [("a", n) for n in range(5)], seconds={"a": 0.01}, make=lane_maker(a=bounds(0.25))
    )
    assert most_at_once(done) == 1
    # Four times as long as it takes, but for the pause after the last.
    assert max(ended for *_, ended in done) >= 0.01 * (5 + 4 * 3)


def test_until_robots_are_read_one_goes_ahead():
    make = lane_maker(known=False)
    done = played([("a", n) for n in range(10)], workers=10, seconds={"a": 0.01}, make=make)
    assert len(done) == 10


def test_who_waits_comes_back():
    async def run():
        loop = asyncio.get_running_loop()
        schedule = Schedule(lane_maker(), loop.time)
        schedule.add(Job(0, "", "", "a"))
        job, lane = await schedule.take()
        schedule.again(job, 0.05)
        schedule.end(lane, 0)
        start = loop.time()
        again, lane = await schedule.take()
        assert (again is job, loop.time() - start >= 0.04) == (True, True)
        again.host = "b"
        schedule.move(again)
        schedule.end(lane, 0)
        moved, lane = await schedule.take()
        assert (moved is job, lane.host) == (True, "b")
        schedule.over()
        assert await schedule.take() is None

    asyncio.run(asyncio.wait_for(run(), 10))


def test_a_closed_host_gives_its_rest_at_once():
    async def run():
        loop = asyncio.get_running_loop()
        schedule = Schedule(lane_maker(a=bounds(1, 0.001)), loop.time)
        for n in range(50):
            schedule.add(Job(n, "", "", "a"))
        _, lane = await schedule.take()
        lane.closed = "down"
        schedule.over()
        schedule.end(lane, 0)
        for _ in range(49):
            await schedule.take()
            schedule.over()
        assert await schedule.take() is None

    asyncio.run(asyncio.wait_for(run(), 2))


def test_what_was_not_asked_costs_no_turn():
    async def run():
        loop = asyncio.get_running_loop()
        schedule = Schedule(lane_maker(a=bounds(1, 0.01)), loop.time)
        for n in range(30):
            schedule.add(Job(n, "", "", "a"))
        for _ in range(29):
            _, lane = await schedule.take()
            schedule.over()
            schedule.unused(lane)
        await schedule.take()  # this one is asked
        schedule.add(Job(30, "", "", "a"))
        schedule.end(lane, 0)
        return lane.bounds.next_at - loop.time(), lane.bounds.active

    left, active = asyncio.run(asyncio.wait_for(run(), 5))
    assert (99 < left <= 100, active) == (True, 0)


def test_a_pause_stays_where_a_request_was_not_made():
    limits = bounds(2, 1)
    limits.begin(10.0)
    limits.next_at = 70.0  # a Retry-After came meanwhile
    limits.unused()
    assert (limits.next_at, limits.active) == (70.0, 0)


def test_limits_only_become_stricter():
    limits = bounds(6, 10)
    limits.slow_down(0.5, 4.0)
    limits.slow_down(1.0, 2.0)
    assert (limits.connections, limits.interval, limits.rest) == (0.5, 4.0, 1.0)
