import logging

import pytest

from nucleus_data.engines.captioner import EngineSettings
from nucleus_data.engines.load import load_engine
from nucleus_data.errors import RequestError, StoppedError
from tests.support.captions.asked import ELSEWHERE, PICTURE, ask, caption, drained
from tests.support.captions.server import FakeServer, Reply, completion, error


def telling(**config):
    """What vLLM's server tells of itself, in its developers' mode."""
    return {
        "models": [{"id": "nano", "owned_by": "vllm", "max_model_len": 4096}],
        "version": "0.32.0",
        "metrics": '# HELP\nvllm:cache_config_info{block_size="16",cache_dtype="fp8_e4m3"} 1.0\n',
        "info": {"vllm_config": {"model_config": config}},
    }


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
    def test_nobody_there(self, engine_for):
        with FakeServer() as server:
            url = server.url
        with pytest.raises(StoppedError, match=r"no server answers .*ConnectError.*vllm serve"):
            engine_for(url)

    def test_one_of_two_is_enough(self, engine_for):
        with FakeServer() as gone:
            url = gone.url
        with FakeServer() as server:
            assert caption(engine_for(url, server), ask("a"))["a"].text == "a red ring"

    def test_it_needs_urls(self):
        with pytest.raises(RequestError, match=r"needs caption\.servers\.urls"):
            load_engine(EngineSettings(engine="server"))

    def test_another_model_is_said(self, engine_for):
        listed = [{"id": "qwen", "root": "Qwen/Qwen3-VL-8B-Instruct"}]
        with FakeServer(models=listed) as server:
            with pytest.raises(RequestError, match=r"'nano'.* serves qwen \(of Qwen/Qwen3-VL-8B"):
                engine_for(server)
            with pytest.raises(RequestError, match=r"servers\.model is 'llama'.*\['qwen'\]"):
                engine_for(server, servers={"model": "llama"})
            caption(engine_for(server, servers={"model": "qwen"}), ask("a"))
            assert server.bodies[0]["model"] == "qwen"

    @pytest.mark.parametrize("named", [{"id": "org/model"}, {"id": "x", "root": "org/model"}])
    def test_the_model_is_found_by_its_name_or_its_root(self, engine_for, named):
        with FakeServer(models=[{"id": "other"}, named]) as server:
            caption(engine_for(server, model=ELSEWHERE), ask("a"))
            assert server.bodies[0]["model"] == named["id"]

    def test_another_tokenizer_is_another_model(self, engine_for):
        with (
            FakeServer(tokenize=lambda text: list(text.encode())) as server,
            pytest.raises(RequestError, match="split a text into different tokens"),
        ):
            engine_for(server)

    def test_a_model_without_eyes_stops_what_asks_about_pictures_alone(self, engine_for):
        class Blind(FakeServer):
            def canary(self, body):
                seen = isinstance(body["messages"][0]["content"], list)
                return error(400, "no pictures here") if seen else completion("A")

        with Blind() as server:
            engine = engine_for(server)
            assert caption(engine, ask("a", sees_picture=False))["a"].text == "a red ring"
            engine.submit(engine.prepare(PICTURE, [ask("b")]))
            with pytest.raises(
                StoppedError, match="can't read pictures: refused: no pictures here"
            ):
                drained(engine)

    @pytest.mark.slow
    def test_servers_that_run_the_model_otherwise_than_was_said_are_refused(self, engine_for):
        half = telling(dtype="torch.float16", quantization="fp8")
        with FakeServer(**half) as server:
            for key, value, said in (
                ("dtype", "bfloat16", "caption.dtype is 'bfloat16', but .* has 'float16'"),
                ("quantization", "awq", "quantization is 'awq', but .* has 'fp8'.*tion awq"),
                ("kv_cache_dtype", "int8", "kv_cache_dtype is 'int8', but .* has 'fp8_e4m3'"),
            ):
                given = {key: value} if key == "dtype" else {"vllm_args": {key: value}}
                with pytest.raises(RequestError, match=said):
                    engine_for(server, **given)
            right = {"quantization": "fp8", "kv_cache_dtype": "fp8_e4m3"}
            assert caption(engine_for(server, dtype="float16", vllm_args=right), ask("a"))
            assert caption(engine_for(server), ask("a")), "what is not said is as the server has it"

    @pytest.mark.slow
    def test_servers_that_differ_from_each_other_are_refused_or_said(self, engine_for, warned):
        one, other = telling(dtype="torch.float16"), telling(dtype="torch.bfloat16")
        with (
            FakeServer(**one) as first,
            FakeServer(**other) as second,
            pytest.raises(RequestError, match=r"dtype differs \(.* has 'float16', .*16"),
        ):
            engine_for(first, second)
        older = telling(dtype="torch.float16") | {"version": "0.11.0"}
        with FakeServer(**one) as first, FakeServer(**older) as second:
            engine = engine_for(first, second, dtype="float16", max_model_len=9000)
            assert caption(engine, ask("a"))["a"].text == "a red ring"
        said = "\n".join(warned)
        assert "the versions differ" in said
        assert said.count("has room for 4096 tokens, but caption.max_model_len is 9000") == 2
        assert "not compared" not in said

    def test_what_no_server_tells_is_said(self, engine_for, warned):
        with FakeServer() as server:
            engine_for(server)
            assert "not compared" not in "\n".join(warned)
            engine_for(server, dtype="float16", vllm_args={"hf_overrides": {}, "max_num_seqs": 3})
        assert "dtype=float16, hf_overrides={}: not compared, as not every" in "\n".join(warned)

    def test_a_redirect_is_not_followed(self, engine_for):
        with FakeServer() as other, FakeServer() as server:
            server.answer = lambda body: Reply(
                {}, 307, {"Location": f"{other.url}/chat/completions"}
            )
            with pytest.raises(StoppedError, match=r"HTTP 307: redirects to .*use that URL"):
                engine_for(server)
            assert other.bodies == other.headers == []

    def test_a_refused_key_is_said_and_not_shown(self, engine_for, monkeypatch):
        monkeypatch.setenv("CAPTION_KEY", "very-secret")
        with FakeServer() as server:
            server.answer = lambda body: error(401, "bad key very-secret")
            with pytest.raises(StoppedError, match="the key in CAPTION_KEY is refused") as stopped:
                engine_for(server, servers={"key_env": "CAPTION_KEY"})
        assert "very-secret" not in str(stopped.value)
        with pytest.raises(RequestError, match="NO_SUCH_KEY is not set"):
            engine_for(server, servers={"key_env": "NO_SUCH_KEY"})

    def test_its_version_is_what_it_says(self, engine_for):
        with FakeServer(version="0.32.0") as one, FakeServer(models=[{"id": "nano"}]) as two:
            assert engine_for(one).version == "vllm 0.32.0"
            assert engine_for(two).version == "unknown"
