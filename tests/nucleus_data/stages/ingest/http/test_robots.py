import asyncio
from collections import Counter

import pytest

from nucleus_data.stages.ingest.http import robots as robots_module
from nucleus_data.stages.ingest.http.failures import Failure
from nucleus_data.stages.ingest.http.robots import MOST_BYTES, Robots, RobotsFile, unreachable


def asked(file, *urls, token="nucleus-data", most_delay=30.0):
    """Refusals of URLs, and how often each robots.txt was asked for."""
    count = Counter()

    async def ask(url):
        count[url] += 1
        await asyncio.sleep(0)
        return file

    async def run():
        robots = Robots(token, ask, most_delay)
        found = await asyncio.gather(*(robots.rules(url) for url in urls))
        assert [robots.known(url) for url in urls] == found
        refusals = [rules.refusal(url) for rules, url in zip(found, urls, strict=True)]
        return [refusal and refusal.reason for refusal in refusals]

    return asyncio.run(run()), count


def rules(text):
    return RobotsFile(200, text.encode() if isinstance(text, str) else text)


def test_rules_for_all_and_for_us():
    everyone = rules("User-agent: *\nDisallow: /private/\nAllow: /private/open.jpg\n")
    urls = ("http://h/a.jpg", "http://h/private/a.jpg", "http://h/private/open.jpg")
    assert asked(everyone, *urls)[0] == [None, "robots_txt", None]
    ours = rules("User-agent: *\nDisallow: /\n\nUser-agent: Nucleus-Data\nDisallow: /b\n")
    assert asked(ours, "http://h/a.jpg", "http://h/b.jpg")[0] == [None, "robots_txt"]


def test_each_host_is_asked_once_by_scheme_and_port():
    urls = [f"http://h/{n}.jpg" for n in range(20)]
    urls += ["https://h/a", "http://h:8080/a?x=/", "http://g/a"]
    _, count = asked(rules(""), *urls)
    sites = ("http://h", "https://h", "http://h:8080", "http://g")
    assert count == {f"{site}/robots.txt": 1 for site in sites}


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        *((RobotsFile(status), None) for status in (400, 401, 403, 404, 410, 429)),
        *((RobotsFile(status), "robots_unreachable") for status in (500, 503)),
        (RobotsFile(0, failure=unreachable(Failure("timeout", "x"))), "robots_unreachable"),
        (RobotsFile(0, failure=unreachable(Failure("dns", "x", any_url=True))), "dns"),
        (rules(""), None),
        (rules("<html>Not found</html>"), None),
        (rules(b"\x89PNG\r\n\x1a\n\0\xff\xfe"), None),
        (rules("\ufeffUser-agent: *\nDisallow: /"), "robots_txt"),
    ],
)
def test_what_an_answer_means(file, reason):
    assert asked(file, "http://h/a.jpg")[0] == [reason]


def test_only_the_first_bytes_count():
    filler = "#" + "x" * (MOST_BYTES - 100) + "\n"
    late = rules("User-agent: *\nDisallow: /a\n" + filler + "Disallow: /" + "b" * 200)
    assert asked(late, "http://h/a", "http://h/" + "b" * 200)[0][0] == "robots_txt"
    past = rules(filler + "#" * 200 + "\nUser-agent: *\nDisallow: /a\n")
    assert asked(past, "http://h/a")[0] == [None]


def test_who_gives_up_takes_nobody_along():
    async def ask(url):
        await asyncio.sleep(0.05)
        return rules("User-agent: *\nDisallow: /a")

    async def run():
        robots = Robots("nucleus-data", ask)
        first = asyncio.create_task(robots.rules("http://h/a"))
        second = asyncio.create_task(robots.rules("http://h/a"))
        await asyncio.sleep(0.01)
        first.cancel()
        return await second

    assert asyncio.run(run()).refusal("http://h/a").reason == "robots_txt"


@pytest.mark.parametrize(
    ("text", "delay"),
    [
        ("User-agent: *\nCrawl-delay: 2.5", 2.5),
        ("User-agent: *\nDisallow: /x\nCrawl-delay: 0", 0.0),
        ("User-agent: *\nRequest-rate: 2/1m 0400-0845", 30.0),
        ("User-agent: *\nCrawl-delay: 4\nRequest-rate: 1/9", 9.0),
        ("User-agent: *\nCrawl-delay: 9\n\nUser-agent: nucleus-data\nCrawl-delay: 1", 1.0),
        ("User-agent: *\nCrawl-delay: 9\n\nUser-agent: nucleus-data\nDisallow: /x", 0.0),
        ("User-agent: otherbot\nCrawl-delay: 9", 0.0),
        *((f"User-agent: *\nCrawl-delay: {odd}", 0.0) for odd in ("", "slow", "-1", "nan", "inf")),
    ],
)
def test_how_often_a_host_wants_to_be_asked(text, delay):
    async def ask(url):
        return rules(text)

    async def run():
        return await Robots("nucleus-data", ask, 30.0).rules("http://h/a")

    found = asyncio.run(run())
    assert (found.delay, found.seldom) == (delay, None)


def test_a_host_that_wants_to_be_asked_too_seldom_is_not_asked():
    file = rules("User-agent: *\nDisallow: /b\nCrawl-delay: 31")
    urls = ("http://h/a", "http://h/b")
    assert asked(file, *urls)[0] == ["crawl_delay", "robots_txt"]
    assert asked(file, *urls, most_delay=31.0)[0] == [None, "robots_txt"]


@pytest.mark.parametrize(("seconds", "times"), [(60.0, 1), (-1.0, 2)])
def test_rules_are_read_again_when_they_are_old(monkeypatch, seconds, times):
    monkeypatch.setattr(robots_module, "KEPT_S", seconds)
    count = Counter()

    async def ask(url):
        count[url] += 1
        return rules("")

    async def run():
        robots = Robots("nucleus-data", ask)
        for _ in range(2):
            await robots.rules("http://h/a")

    asyncio.run(run())
    assert count.total() == times
