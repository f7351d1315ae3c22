import threading
import time

import pytest

from nucleus_data.errors import StoppedError
from tests.support.captions.asked import ELSEWHERE, PICTURE, ask, caption, drained
from tests.support.captions.server import FakeServer, error
from tests.support.quick import quick


class TestServers:
    @pytest.mark.slow
    def test_each_has_at_most_its_share_and_the_least_busy_is_next(self, engine_for):
        def say(asked):
            time.sleep(0.05)
            return "fine"

        with FakeServer(say) as one, FakeServer(say) as two:
            engine = engine_for(one, two, servers={"concurrency": 3})
            for i in range(24):
                engine.submit(engine.prepare(PICTURE, [ask(str(i))]))
            assert len(drained(engine)) == 24
            assert 2 <= max(one.most, two.most) <= 3
            assert min(len(one.bodies), len(two.bodies)) > 3

    @pytest.mark.slow
    def test_what_is_asked_about_one_picture_goes_to_one(self, engine_for):
        with FakeServer() as one, FakeServer() as two:
            engine = engine_for(one, two)
            for i in range(4):
                engine.submit(engine.prepare(PICTURE, [ask(f"{i}/{j}", str(i)) for j in range(3)]))
            drained(engine)
            assert not set(one.questions) & set(two.questions)
            assert len(one.bodies) + len(two.bodies) == 12

    @pytest.mark.slow
    def test_one_that_dies_is_left_out_and_taken_back(self, engine_for):
        def say(asked):
            time.sleep(0.01)
            return "fine"

        with FakeServer(say) as one, FakeServer(say) as two:
            engine = engine_for(one, two, servers={"concurrency": 4})
            for i in range(60):
                engine.submit(engine.prepare(PICTURE, [ask(str(i))]))
            time.sleep(0.05)
            two.stop()
            done = drained(engine)
            assert sorted(int(made.key) for made in done) == list(range(60))
            assert {made.text for made in done} == {"fine"}
            assert engine.counts()["asked_again"] <= 4, "what was in flight"
            two.start()
            for i in range(80):
                engine.submit(engine.prepare(PICTURE, [ask(f"again {i}", f"again {i}")]))
            assert len(drained(engine)) == 80
            assert any(question.startswith("again") for question in two.questions)

    @pytest.mark.slow
    def test_killed_and_started_again_every_request_comes_once(self, engine_for):
        def say(asked):
            time.sleep(0.02)
            return asked.question

        with FakeServer(say) as server:
            engine = engine_for(server, servers={"concurrency": 8, "retries": 3})
            for i in range(80):
                engine.submit(engine.prepare(PICTURE, [ask(str(i), str(i))]))
            for _ in range(2):
                time.sleep(0.08)
                server.stop()
                time.sleep(0.05)
                server.start()
            done = drained(engine)
        assert sorted((made.key, made.text) for made in done) == sorted(
            (str(i), str(i)) for i in range(80)
        )
        assert engine.counts()["asked_again"] <= 2 * 8, "what was in flight"

    def test_all_down_for_too_long_ends_the_run(self, engine_for):
        with FakeServer() as server:
            engine = engine_for(server, servers={"gives_up_s": 0.15})
            caption(engine, ask("a"))
            server.stop()
            start = time.monotonic()
            engine.submit(engine.prepare(PICTURE, [ask("b")]))
            with pytest.raises(StoppedError, match=r"no server has worked for 0\.15 s") as stopped:
                drained(engine)
            assert time.monotonic() - start >= 0.15
            assert server.url in str(stopped.value)
            assert "run the same command again" in str(stopped.value)

    @pytest.mark.slow
    def test_a_rest_is_no_failure(self, engine_for):
        with FakeServer(lambda asked: None if asked.times == 0 else "fine") as server:
            engine = engine_for(server, servers={"gives_up_s": 1.0, "retries": 0})
            assert caption(engine, ask("a"))["a"].error
            time.sleep(1.1)
            server.say = lambda asked: "fine"
            assert caption(engine, ask("b"))["b"].text == "fine"

    @pytest.mark.parametrize("status", quick([401, 403, 404], 1))
    def test_what_no_request_gets_through_is_no_request_s_fault(self, engine_for, status):
        with FakeServer() as server:
            engine = engine_for(server, servers={"gives_up_s": 0.15})
            server.answer = lambda body: error(status, "no entry")
            engine.submit(engine.prepare(PICTURE, [ask("a")]))
            with pytest.raises(StoppedError, match=f"HTTP {status}: no entry"):
                drained(engine)

    @pytest.mark.slow
    def test_asked_by_many_threads(self, engine_for):
        with FakeServer(lambda asked: asked.question) as server:
            engine = engine_for(server)
            prepared = []
            threads = [
                threading.Thread(
                    target=lambda i=i: prepared.append(
                        engine.prepare(PICTURE, [ask(str(i), str(i))])
                    )
                )
                for i in range(16)
            ]
            for one in threads:
                one.start()
            for one in threads:
                one.join()
            for one in prepared:
                engine.submit(one)
            assert {made.text for made in drained(engine)} == {str(i) for i in range(16)}


class TestCounting:
    def test_by_the_model_s_tokenizer_the_server_or_an_upper_bound(self, engine_for):
        text = "a red ring, é"
        with FakeServer() as server:
            exact = engine_for(server).count_tokens(text)
            bound = engine_for(server, model=ELSEWHERE, servers={"model": "nano"}).count_tokens(
                text
            )
        assert exact < bound == len(text.encode()) + 1
        with FakeServer() as server:
            server.tokenize = lambda text: [1] * len(text.split())
            assert (
                engine_for(server, model=ELSEWHERE, servers={"model": "nano"}).count_tokens(text)
                == 4
            )

    def test_no_text_no_tokens(self, engine_for):
        with FakeServer() as server, pytest.raises(ValueError, match="surrogates"):
            engine_for(server).count_tokens("\ud800")
