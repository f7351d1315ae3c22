import time

import pytest

from tests.support.captions.asked import ask, caption
from tests.support.captions.server import FakeServer, Reply, error
from tests.support.quick import quick

FAILS = {
    "500": error(500, "a kernel failed"),
    "502": Reply(b"<html>bad gateway</html>", 502, {"Content-Type": "text/html"}),
    "408": error(408, "slow"),
    "closed": None,
    "no JSON": Reply(b'{"choices": [', 200),
    "a page": Reply(b"<html>welcome</html>", 200, {"Content-Type": "text/html"}),
    "no choices": {"id": "x", "choices": []},
    "null choices": {"id": "x", "choices": None},
    "no message": {"id": "x", "choices": [{"index": 0, "finish_reason": "stop"}]},
    "a list": [1, 2],
}


class TestAskingAgain:
    @pytest.mark.parametrize("kind", quick(FAILS, 2))
    def test_what_the_server_failed_on_is_asked_again(self, engine_for, kind):
        with FakeServer(lambda asked: FAILS[kind] if asked.times < 2 else "a ring") as server:
            engine = engine_for(server)
            assert caption(engine, ask("a"))["a"].text == "a ring"
            assert engine.counts()["asked_again"] == 2

    @pytest.mark.parametrize("kind", quick(FAILS, 2))
    def test_a_request_that_always_fails_ends_alone(self, engine_for, kind):
        def say(asked):
            return FAILS[kind] if asked.question == "bad" else "fine"

        with FakeServer(say) as server:
            engine = engine_for(server, servers={"retries": 2})
            found = caption(engine, ask("a"), ask("b", "bad"), ask("c"))
            assert server.questions.count("bad") == 3
        assert found["b"].reason in ("engine_raised", "engine_lost")
        assert "asked 3 times" in found["b"].error
        assert [found[key].text for key in "ac"] == ["fine", "fine"]

    def test_retry_after_is_obeyed_by_all(self, engine_for):
        times = []

        def say(asked):
            times.append(time.monotonic())
            return error(429, "slow down", retry_after="0.1") if len(times) == 1 else "fine"

        with FakeServer(say) as server:
            engine = engine_for(server, servers={"concurrency": 1})
            found = caption(engine, *(ask(key, key) for key in "abc"))
        assert {one.text for one in found.values()} == {"fine"}
        assert times[1] - times[0] >= 0.1
        assert len(times) == 4

    def test_a_server_that_is_full_often_loses_no_request(self, engine_for):
        with FakeServer(lambda asked: error(429, "full") if asked.times < 8 else "fine") as server:
            engine = engine_for(server, servers={"retries": 1, "backoff_s": 0.001})
            assert caption(engine, ask("a"))["a"].text == "fine"

    @pytest.mark.slow
    def test_a_slow_request_is_given_up_in_time(self, engine_for):
        def say(asked):
            if asked.question == "slow":
                time.sleep(1)
            return "fine"

        with FakeServer(say) as server:
            engine = engine_for(server, servers={"timeout_s": 0.2, "retries": 1})
            found = caption(engine, ask("a"), ask("b", "slow"))
        assert (found["a"].text, found["b"].reason) == ("fine", "engine_lost")
        assert "timeout_s" in found["b"].error
