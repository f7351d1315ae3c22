"""The fetcher's benchmark at its smallest: its server, its ways, and its rows."""

import pytest

from scripts import bench_fetch
from scripts.bench_fetch import LARGE, SMALL, Size
from scripts.fetching import web


def test_the_pictures_and_their_urls():
    assert [len(web.jpeg(size)) for size in (SMALL, LARGE)] == [SMALL, LARGE]
    urls = bench_fetch.urls_of(80, 4, SMALL, 2)
    assert urls[2] == "http://h0.example0.com:80/3000/0/2.jpg"
    assert len({url.split("/")[2] for url in urls}) == 2
    assert web.ROBOTS.count("Disallow") == 50


@pytest.mark.slow
def test_our_ways_bring_every_picture():
    with bench_fetch.server() as port:
        urls = bench_fetch.urls_of(port, 12, SMALL, 3)
        for way in (bench_fetch.nucleus, bench_fetch.with_tar, bench_fetch.bare):
            cost = bench_fetch.in_a_process(way, urls)
            assert (cost.images, cost.processor_s > 0, cost.memory_mb > 10) == (12, True, True)
        with pytest.raises(RuntimeError, match="brought 1 of 2"):
            bench_fetch.in_a_process(bench_fetch.nucleus, [*urls[:1], "http://nowhere.invalid/"])


@pytest.mark.slow
def test_every_row_with_and_without_a_goal():
    pytest.importorskip("img2dataset")
    rows = bench_fetch.run(Size(small=20, large=4, waiting=2, rounds=1, planned=500))
    goals = [row.goal for row in rows if row.goal]
    assert goals == [
        "<= 0.45",
        "<= 1.6",
        ">= 6",
        "<= 150",
        "<= 1.3",
        "<= 150",
        ">= 0.9",
        "<= 60",
        "<= 500",
    ]
    assert len({row.name + (row.against or "") for row in rows}) == len(rows) == 25


@pytest.mark.slow
def test_planning_a_list_is_measured():
    cost = bench_fetch.in_a_process(bench_fetch.planning, (), 300, count=300)
    assert (cost.images, cost.processor_s > 0, cost.memory_mb > 10) == (300, True, True)
