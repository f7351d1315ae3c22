import base64
import io
import json
import logging
import ssl
import threading
import time
from functools import partial

import numpy as np
import pytest
from PIL import Image

from nucleus_data.engines.captioner import Ask, EngineSettings, Sampling
from nucleus_data.engines.captioner_server import ServerEngine
from nucleus_data.engines.find import ModelReference, resolve_model
from nucleus_data.engines.load import load_engine
from nucleus_data.engines.server_chat import answered
from nucleus_data.engines.server_text import JOINER
from nucleus_data.errors import RequestError, StoppedError
from tests.support.captions.server import FakeServer, Reply, completion, error
from tests.support.quick import quick

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
ELSEWHERE = ModelReference("org/model", "org/model", "main", local=False)


def telling(**config):
    """What vLLM's server tells of itself, in its developers' mode."""
    return {
        "models": [{"id": "nano", "owned_by": "vllm", "max_model_len": 4096}],
        "version": "0.32.0",
        "metrics": '# HELP\nvllm:cache_config_info{block_size="16",cache_dtype="fp8_e4m3"} 1.0\n',
        "info": {"vllm_config": {"model_config": config}},
    }


@pytest.fixture(autouse=True, scope="module")
def certificates_once():
    """Trusted certificates: each client would read them, for 30 ms; no server here has any."""
    import openai

    client = partial(openai.DefaultAsyncHttpxClient, verify=ssl.create_default_context())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai, "DefaultAsyncHttpxClient", client)
        yield


@pytest.fixture
def made():
    """Makes engines, and ends them."""
    engines = []

    def make(*servers, model=None, **settings):
        servers_ = {
            "urls": [getattr(one, "url", one) for one in servers],
            "backoff_s": 0.01,
            **settings.pop("servers", {}),
        }
        engines.append(
            ServerEngine(
                model or resolve_model("nano", None),
                EngineSettings(engine="server", servers=servers_, **settings),
            )
        )
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def ask(key, question="Describe this.", sampling=None, **more):
    return Ask(key, question, sampling or Sampling(32), **more)


def caption(engine, *asks, picture=PICTURE):
    """All answers by key; each comes once."""
    prepared = engine.prepare(picture, asks)
    engine.submit(prepared)
    done = [*prepared.failed, *drained(engine)]
    assert sorted(one.key for one in done) == sorted(one.key for one in asks)
    return {one.key: one for one in done}


def drained(engine, within_s=20):
    done, end = [], time.monotonic() + within_s
    while engine.pending():
        assert time.monotonic() < end, "it never came back"
        done += engine.step()
    return done


class TestWhatIsSent:
    @pytest.mark.slow
    def test_the_picture_without_loss_before_the_question_and_all_sampling(self, made):
        how = Sampling(33, 0.5, 0.9, 0.25, 1.1, 4, ("\n",), seed=2**62)
        with FakeServer(version="0.32.0") as server:
            engine = made(server, template_args={"style": "plain"})
            caption(engine, ask("a", sampling=how, system="Be short."))
            (body,) = server.bodies
        system, user = body["messages"]
        assert system == {"role": "system", "content": "Be short."}
        image, text = user["content"]
        assert text == {"type": "text", "text": "Describe this."}
        kind, data = image["image_url"]["url"].split(";base64,")
        assert kind == "data:image/png"
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), PICTURE)
        assert {name: body[name] for name in body if name != "messages"} == {
            "model": "nano",
            "max_tokens": 33,
            "temperature": 0.5,
            "top_p": 0.9,
            "presence_penalty": 0.25,
            "repetition_penalty": 1.1,
            "min_tokens": 4,
            "stop": ["\n"],
            "seed": 2**62,
            "top_k": -1,
            "min_p": 0.0,
            "chat_template_kwargs": {"enable_thinking": False, "style": "plain"},
        }

    @pytest.mark.slow
    def test_another_server_is_sent_what_all_of_them_know(self, made):
        with FakeServer() as server:
            caption(made(server), ask("a"), ask("b", "Shorten: x", sees_picture=False))
            first, second = sorted(server.bodies, key=lambda body: len(str(body)), reverse=True)
        assert set(first) == {"model", "messages", "max_tokens", "temperature", "top_p"}
        assert second["messages"] == [{"role": "user", "content": "Shorten: x"}]

    def test_a_jpeg_where_the_setting_says_so(self, made):
        with FakeServer() as server:
            caption(made(server, jpeg_quality=90), ask("a"))
            url = server.bodies[0]["messages"][0]["content"][0]["image_url"]["url"]
        assert url.startswith("data:image/jpeg;base64,")
        assert Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).size == (60, 40)

    @pytest.mark.slow  # it imports xgrammar, and that torch
    def test_a_schema_is_a_grammar_for_vllm_and_a_response_format_for_others(self, made):
        schema = json.dumps({"type": "object", "properties": {"a": {"type": "integer"}}})
        for version, field in (("0.32.0", "structured_outputs"), ("0.9.1", "response_format")):
            with FakeServer(version=version) as server:
                caption(made(server), ask("a", schema=schema))
                (body,) = server.bodies
            assert {"structured_outputs", "response_format"} & set(body) == {field}
        assert body["response_format"]["json_schema"]["schema"] == json.loads(schema)

    def test_special_tokens_are_broken(self, made):
        with FakeServer() as server:
            caption(made(server), ask("a", "x <|im_end|> <|im_<|im_end|>end|> </s>"))
            caption(
                made(server, model=ELSEWHERE, servers={"model": "nano"}),
                ask("b", "x </s> [INST] <b"),
            )
            known, unknown = server.questions
        assert "<|im_end|>" not in known
        assert known.replace(JOINER, "") == "x <|im_end|> <|im_<|im_end|>end|> </s>"
        assert unknown == f"x <{JOINER}/s> [{JOINER}INST] <b"

    def test_the_key_is_of_the_variable_and_nobody_else_s_is_sent(self, made, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "of-another-server")
        monkeypatch.setenv("OPENAI_ORG_ID", "of-another-server")
        monkeypatch.setenv("CAPTION_KEY", "secret")
        with FakeServer() as server:
            caption(made(server, servers={"key_env": "CAPTION_KEY"}), ask("a"))
            assert {one["authorization"] for one in server.headers} == {"Bearer secret"}
            server.headers.clear()
            caption(made(server), ask("a"))
            assert "of-another-server" not in str(server.headers)


class TestAnswers:
    def test_a_caption_and_what_it_cost(self, made):
        with FakeServer(lambda asked: completion(" a ring\n", tokens=7)) as server:
            engine = made(server)
            found = caption(engine, ask("a"), ask("b"))["a"]
            counts = dict(engine.counts())
        assert (found.text, found.finish_reason) == ("a ring", "stop")
        assert (found.tokens, found.prompt_tokens) == (7, 20)
        assert counts == {"pictures": 1, "tokens": 14, "prompt_tokens": 40, "cached_tokens": 32}
        assert engine.counts() == {}

    @pytest.mark.parametrize(
        ("told", "stop", "finish", "at_stop"),
        [
            ({"stop_reason": "."}, (".",), "stop", True),
            ({"stop_reason": None}, (".",), "stop", False),  # the model's own end
            ({"stop_reason": 151645}, (".",), "stop", False),
            ({}, (".",), "stop", True),  # it may have
            ({}, (".",), "length", False),
            ({}, (), "stop", False),
        ],
    )
    def test_whether_a_stop_text_ended_it(self, told, stop, finish, at_stop):
        from openai.types.chat import ChatCompletion  # half a second

        whole = {**completion("A ring", finish), "created": 0, "model": "m"}
        whole["choices"][0] |= told
        answer = ChatCompletion.model_validate(whole)
        asked = ask("a", sampling=Sampling(5, stop=stop))
        assert answered(asked, answer).at_stop is at_stop

    @pytest.mark.parametrize(
        ("answer", "text"),
        quick(
            [
                (completion("<think>round</think>a ring"), "a ring"),
                (completion("a ring", reasoning_content="round"), "a ring"),
                (completion("<think>round", "length", 32), ""),
                (completion(None, "length", 32, reasoning="round"), ""),
            ],
            2,
            2,
        ),
    )
    def test_thinking_is_not_the_caption(self, made, answer, text):
        with FakeServer(lambda asked: answer) as server:
            found = caption(made(server), ask("a"))["a"]
        assert (found.text, found.error) == (text, "")

    @pytest.mark.parametrize(
        ("answer", "reason", "words"),
        quick(
            [
                (error(400, "no such parameter"), "caption_refused", "no such parameter"),
                (error(422, "unprocessable"), "caption_refused", "unprocessable"),
                (error(400, "x", code="context_length_exceeded"), "too_long", "x"),
                (error(400, "This model's maximum context length is 9 tokens"), "too_long", "is 9"),
                (completion("a", "content_filter"), "caption_refused", "content_filter"),
                (completion("a", "length", 9), "too_long", "room for 20 tokens"),
                (completion(None, refusal="I can't"), "caption_refused", "I can't"),
            ],
            3,
            3,
        ),
    )
    def test_a_refused_request_costs_itself_and_is_asked_once(self, made, answer, reason, words):
        with FakeServer(lambda asked: answer if asked.question == "bad" else "fine") as server:
            found = caption(made(server), ask("a"), ask("b", "bad"), ask("c", "other"))
            assert server.questions.count("bad") == 1
        assert (found["b"].text, found["b"].reason) == ("", reason)
        assert words in found["b"].error
        assert [found[key].text for key in "ac"] == ["fine", "fine"]

    def test_what_can_t_be_sent_fails_alone(self, made):
        with FakeServer() as server:
            engine = made(server)
            found = caption(engine, ask("a"), ask("b", "\ud800"), ask("c", "x", system="\ud800"))
            assert [key for key in "abc" if found[key].error] == ["b", "c"]
            blind = caption(engine, ask("a"), ask("b", sees_picture=False), picture=None)
            assert [key for key in "ab" if blind[key].error] == ["a"]


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
    def test_what_the_server_failed_on_is_asked_again(self, made, kind):
        with FakeServer(lambda asked: FAILS[kind] if asked.times < 2 else "a ring") as server:
            engine = made(server)
            assert caption(engine, ask("a"))["a"].text == "a ring"
            assert engine.counts()["asked_again"] == 2

    @pytest.mark.parametrize("kind", quick(FAILS, 2))
    def test_a_request_that_always_fails_ends_alone(self, made, kind):
        def say(asked):
            return FAILS[kind] if asked.question == "bad" else "fine"

        with FakeServer(say) as server:
            engine = made(server, servers={"retries": 2})
            found = caption(engine, ask("a"), ask("b", "bad"), ask("c"))
            assert server.questions.count("bad") == 3
        assert found["b"].reason in ("engine_raised", "engine_lost")
        assert "asked 3 times" in found["b"].error
        assert [found[key].text for key in "ac"] == ["fine", "fine"]

    def test_retry_after_is_obeyed_by_all(self, made):
        times = []

        def say(asked):
            times.append(time.monotonic())
            return error(429, "slow down", retry_after="0.1") if len(times) == 1 else "fine"

        with FakeServer(say) as server:
            engine = made(server, servers={"concurrency": 1})
            found = caption(engine, *(ask(key, key) for key in "abc"))
        assert {one.text for one in found.values()} == {"fine"}
        assert times[1] - times[0] >= 0.1
        assert len(times) == 4

    def test_a_server_that_is_full_often_loses_no_request(self, made):
        with FakeServer(lambda asked: error(429, "full") if asked.times < 8 else "fine") as server:
            engine = made(server, servers={"retries": 1, "backoff_s": 0.001})
            assert caption(engine, ask("a"))["a"].text == "fine"

    @pytest.mark.slow
    def test_a_slow_request_is_given_up_in_time(self, made):
        def say(asked):
            if asked.question == "slow":
                time.sleep(1)
            return "fine"

        with FakeServer(say) as server:
            engine = made(server, servers={"timeout_s": 0.2, "retries": 1})
            found = caption(engine, ask("a"), ask("b", "slow"))
        assert (found["a"].text, found["b"].reason) == ("fine", "engine_lost")
        assert "timeout_s" in found["b"].error


class TestServers:
    @pytest.mark.slow
    def test_each_has_at_most_its_share_and_the_least_busy_is_next(self, made):
        def say(asked):
            time.sleep(0.05)
            return "fine"

        with FakeServer(say) as one, FakeServer(say) as two:
            engine = made(one, two, servers={"concurrency": 3})
            for i in range(24):
                engine.submit(engine.prepare(PICTURE, [ask(str(i))]))
            assert len(drained(engine)) == 24
            assert 2 <= max(one.most, two.most) <= 3
            assert min(len(one.bodies), len(two.bodies)) > 3

    def test_what_is_asked_about_one_picture_goes_to_one(self, made):
        with FakeServer() as one, FakeServer() as two:
            engine = made(one, two)
            for i in range(4):
                engine.submit(engine.prepare(PICTURE, [ask(f"{i}/{j}", str(i)) for j in range(3)]))
            drained(engine)
            assert not set(one.questions) & set(two.questions)
            assert len(one.bodies) + len(two.bodies) == 12

    @pytest.mark.slow
    def test_one_that_dies_is_left_out_and_taken_back(self, made):
        def say(asked):
            time.sleep(0.01)
            return "fine"

        with FakeServer(say) as one, FakeServer(say) as two:
            engine = made(one, two, servers={"concurrency": 4})
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
    def test_killed_and_started_again_every_request_comes_once(self, made):
        def say(asked):
            time.sleep(0.02)
            return asked.question

        with FakeServer(say) as server:
            engine = made(server, servers={"concurrency": 8, "retries": 3})
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

    def test_all_down_for_too_long_ends_the_run(self, made):
        with FakeServer() as server:
            engine = made(server, servers={"gives_up_s": 0.15})
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
    def test_a_rest_is_no_failure(self, made):
        with FakeServer(lambda asked: None if asked.times == 0 else "fine") as server:
            engine = made(server, servers={"gives_up_s": 1.0, "retries": 0})
            assert caption(engine, ask("a"))["a"].error
            time.sleep(1.1)
            server.say = lambda asked: "fine"
            assert caption(engine, ask("b"))["b"].text == "fine"

    @pytest.mark.parametrize("status", quick([401, 403, 404], 1))
    def test_what_no_request_gets_through_is_no_request_s_fault(self, made, status):
        with FakeServer() as server:
            engine = made(server, servers={"gives_up_s": 0.15})
            server.answer = lambda body: error(status, "no entry")
            engine.submit(engine.prepare(PICTURE, [ask("a")]))
            with pytest.raises(StoppedError, match=f"HTTP {status}: no entry"):
                drained(engine)

    @pytest.mark.slow
    def test_asked_by_many_threads(self, made):
        with FakeServer(lambda asked: asked.question) as server:
            engine = made(server)
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


@pytest.fixture
def warned():
    """What the engine warns of, whoever else has set up logging in this process."""
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("nucleus_data.engines.captioner_server")
    logger.addHandler(handler)
    yield said
    logger.removeHandler(handler)


class TestTheStart:
    def test_nobody_there(self, made):
        with FakeServer() as server:
            url = server.url
        with pytest.raises(StoppedError, match=r"no server answers .*ConnectError.*vllm serve"):
            made(url)

    def test_one_of_two_is_enough(self, made):
        with FakeServer() as gone:
            url = gone.url
        with FakeServer() as server:
            assert caption(made(url, server), ask("a"))["a"].text == "a red ring"

    def test_it_needs_urls(self):
        with pytest.raises(RequestError, match=r"needs caption\.servers\.urls"):
            load_engine(EngineSettings(engine="server"))

    def test_another_model_is_said(self, made):
        listed = [{"id": "qwen", "root": "Qwen/Qwen3-VL-8B-Instruct"}]
        with FakeServer(models=listed) as server:
            with pytest.raises(RequestError, match=r"'nano'.* serves qwen \(of Qwen/Qwen3-VL-8B"):
                made(server)
            with pytest.raises(RequestError, match=r"servers\.model is 'llama'.*\['qwen'\]"):
                made(server, servers={"model": "llama"})
            caption(made(server, servers={"model": "qwen"}), ask("a"))
            assert server.bodies[0]["model"] == "qwen"

    @pytest.mark.parametrize("named", [{"id": "org/model"}, {"id": "x", "root": "org/model"}])
    def test_the_model_is_found_by_its_name_or_its_root(self, made, named):
        with FakeServer(models=[{"id": "other"}, named]) as server:
            caption(made(server, model=ELSEWHERE), ask("a"))
            assert server.bodies[0]["model"] == named["id"]

    def test_another_tokenizer_is_another_model(self, made):
        with (
            FakeServer(tokenize=lambda text: list(text.encode())) as server,
            pytest.raises(RequestError, match="reads a text as other tokens"),
        ):
            made(server)

    def test_a_model_without_eyes_stops_what_asks_about_pictures_alone(self, made):
        class Blind(FakeServer):
            def canary(self, body):
                seen = isinstance(body["messages"][0]["content"], list)
                return error(400, "no pictures here") if seen else completion("A")

        with Blind() as server:
            engine = made(server)
            assert caption(engine, ask("a", sees_picture=False))["a"].text == "a red ring"
            engine.submit(engine.prepare(PICTURE, [ask("b")]))
            with pytest.raises(StoppedError, match="reads no pictures: refused: no pictures here"):
                drained(engine)

    def test_servers_that_run_the_model_otherwise_than_was_said_are_refused(self, made):
        half = telling(dtype="torch.float16", quantization="fp8")
        with FakeServer(**half) as server:
            for key, value, said in (
                ("dtype", "bfloat16", "caption.dtype is 'bfloat16', but .* has 'float16'"),
                ("quantization", "awq", "quantization is 'awq', but .* has 'fp8'.*tion awq"),
                ("kv_cache_dtype", "int8", "kv_cache_dtype is 'int8', but .* has 'fp8_e4m3'"),
            ):
                given = {key: value} if key == "dtype" else {"vllm_args": {key: value}}
                with pytest.raises(RequestError, match=said):
                    made(server, **given)
            right = {"quantization": "fp8", "kv_cache_dtype": "fp8_e4m3"}
            assert caption(made(server, dtype="float16", vllm_args=right), ask("a"))
            assert caption(made(server), ask("a")), "what is not said is as the server has it"

    @pytest.mark.slow
    def test_servers_that_differ_from_each_other_are_refused_or_said(self, made, warned):
        one, other = telling(dtype="torch.float16"), telling(dtype="torch.bfloat16")
        with (
            FakeServer(**one) as first,
            FakeServer(**other) as second,
            pytest.raises(RequestError, match=r"dtype is not the same \(.* has 'float16', .*16"),
        ):
            made(first, second)
        older = telling(dtype="torch.float16") | {"version": "0.11.0"}
        with FakeServer(**one) as first, FakeServer(**older) as second:
            engine = made(first, second, dtype="float16", max_model_len=9000)
            assert caption(engine, ask("a"))["a"].text == "a red ring"
        said = "\n".join(warned)
        assert "several versions" in said
        assert said.count("has room for 4096 tokens, and caption.max_model_len is 9000") == 2
        assert "nobody compared it" not in said

    def test_what_no_server_tells_is_said(self, made, warned):
        with FakeServer() as server:
            made(server)
            assert "nobody compared it" not in "\n".join(warned)
            made(server, dtype="float16", vllm_args={"hf_overrides": {}, "max_num_seqs": 3})
        assert "dtype=float16, hf_overrides={}: not every server tells it" in "\n".join(warned)

    def test_a_redirect_is_not_followed(self, made):
        with FakeServer() as other, FakeServer() as server:
            server.answer = lambda body: Reply(
                {}, 307, {"Location": f"{other.url}/chat/completions"}
            )
            with pytest.raises(StoppedError, match=r"HTTP 307: it sends to .*give that URL"):
                made(server)
            assert other.bodies == other.headers == []

    def test_a_refused_key_is_said_and_not_shown(self, made, monkeypatch):
        monkeypatch.setenv("CAPTION_KEY", "very-secret")
        with FakeServer() as server:
            server.answer = lambda body: error(401, "bad key very-secret")
            with pytest.raises(StoppedError, match="the key in CAPTION_KEY is refused") as stopped:
                made(server, servers={"key_env": "CAPTION_KEY"})
        assert "very-secret" not in str(stopped.value)
        with pytest.raises(RequestError, match="NO_SUCH_KEY is not set"):
            made(server, servers={"key_env": "NO_SUCH_KEY"})

    def test_its_version_is_what_it_says(self, made):
        with FakeServer(version="0.32.0") as one, FakeServer(models=[{"id": "nano"}]) as two:
            assert made(one).version == "vllm 0.32.0"
            assert made(two).version == "unknown"


class TestCounting:
    def test_by_the_model_s_tokenizer_the_server_or_an_upper_bound(self, made):
        text = "a red ring, é"
        with FakeServer() as server:
            exact = made(server).count_tokens(text)
            bound = made(server, model=ELSEWHERE, servers={"model": "nano"}).count_tokens(text)
        assert exact < bound == len(text.encode()) + 1
        with FakeServer() as server:
            server.tokenize = lambda text: [1] * len(text.split())
            assert made(server, model=ELSEWHERE, servers={"model": "nano"}).count_tokens(text) == 4

    def test_no_text_no_tokens(self, made):
        with FakeServer() as server, pytest.raises(ValueError, match="surrogates"):
            made(server).count_tokens("\ud800")
