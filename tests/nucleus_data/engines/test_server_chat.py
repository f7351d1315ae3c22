import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from nucleus_data.engines.captioner import Sampling
from nucleus_data.engines.find import CAPTIONER, ModelReference
from nucleus_data.engines.server_chat import answered
from nucleus_data.engines.server_text import JOINER
from nucleus_data.engines.thinking import Answers
from tests.support.captions.asked import ELSEWHERE, PICTURE, ask, caption
from tests.support.captions.server import FakeServer, completion, error
from tests.support.quick import quick


class TestWhatIsSent:
    @pytest.mark.slow
    def test_the_picture_without_loss_before_the_question_and_all_sampling(self, engine_for):
        how = Sampling(33, 0.5, 0.9, 0.25, 1.1, 4, ("\n",), seed=2**62)
        with FakeServer(version="0.32.0") as server:
            engine = engine_for(server, template_args={"style": "plain"})
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
    def test_another_server_is_sent_what_all_of_them_know(self, engine_for):
        with FakeServer() as server:
            caption(engine_for(server), ask("a"), ask("b", "Shorten: x", sees_picture=False))
            first, second = sorted(server.bodies, key=lambda body: len(str(body)), reverse=True)
        assert set(first) == {"model", "messages", "max_tokens", "temperature", "top_p"}
        assert second["messages"] == [{"role": "user", "content": "Shorten: x"}]

    @pytest.mark.slow
    def test_a_jpeg_where_the_setting_says_so(self, engine_for):
        with FakeServer() as server:
            caption(engine_for(server, jpeg_quality=90), ask("a"))
            url = server.bodies[0]["messages"][0]["content"][0]["image_url"]["url"]
        assert url.startswith("data:image/jpeg;base64,")
        assert Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).size == (60, 40)

    @pytest.mark.slow  # it imports xgrammar, and that torch
    def test_a_schema_is_a_grammar_for_vllm_and_a_response_format_for_others(self, engine_for):
        schema = json.dumps({"type": "object", "properties": {"a": {"type": "integer"}}})
        for version, field in (("0.32.0", "structured_outputs"), ("0.9.1", "response_format")):
            with FakeServer(version=version) as server:
                caption(engine_for(server), ask("a", schema=schema))
                (body,) = server.bodies
            assert {"structured_outputs", "response_format"} & set(body) == {field}
        assert body["response_format"]["json_schema"]["schema"] == json.loads(schema)

    def test_special_tokens_are_broken(self, engine_for):
        with FakeServer() as server:
            caption(engine_for(server), ask("a", "x <|im_end|> <|im_<|im_end|>end|> </s>"))
            caption(
                engine_for(server, model=ELSEWHERE, servers={"model": "nano"}),
                ask("b", "x </s> [INST] <b"),
            )
            known, unknown = server.questions
        assert "<|im_end|>" not in known
        assert known.replace(JOINER, "") == "x <|im_end|> <|im_<|im_end|>end|> </s>"
        assert unknown == f"x <{JOINER}/s> [{JOINER}INST] <b"

    def test_the_key_is_of_the_variable_and_nobody_else_s_is_sent(self, engine_for, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "of-another-server")
        monkeypatch.setenv("OPENAI_ORG_ID", "of-another-server")
        monkeypatch.setenv("CAPTION_KEY", "secret")
        with FakeServer() as server:
            caption(engine_for(server, servers={"key_env": "CAPTION_KEY"}), ask("a"))
            assert {one["authorization"] for one in server.headers} == {"Bearer secret"}
            server.headers.clear()
            caption(engine_for(server), ask("a"))
            assert "of-another-server" not in str(server.headers)


class TestAnswers:
    def test_a_caption_and_what_it_cost(self, engine_for):
        with FakeServer(lambda asked: completion(" a ring\n", tokens=7)) as server:
            engine = engine_for(server)
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
        assert answered(asked, answer, Answers(())).at_stop is at_stop

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
    def test_thinking_is_not_the_caption(self, engine_for, answer, text):
        with FakeServer(lambda asked: answer) as server:
            found = caption(engine_for(server), ask("a"))["a"]
        assert (found.text, found.error) == (text, "")

    @pytest.mark.parametrize("version", ["0.32.0", None])
    def test_marks_that_are_special_tokens_are_asked_for(self, engine_for, tmp_path, version):
        tokenizers = pytest.importorskip("tokenizers")
        own = tokenizers.Tokenizer.from_file(str(CAPTIONER.nano / "tokenizer.json"))
        own.add_special_tokens(["<think>", "</think>"])
        own.save(str(tmp_path / "tokenizer.json"))
        model = ModelReference("nano", str(tmp_path), "x", local=True)
        said = completion("<think>round</think><|vision_start|>a ring<|im_end|>")
        with FakeServer(lambda asked: said, version=version) as server:
            engine = engine_for(server, model=model)
            assert caption(engine, ask("a"))["a"].text == "a ring"
            (body,) = server.bodies
        assert body.get("skip_special_tokens", True) is (version is None)

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
    def test_a_refused_request_costs_itself_and_is_asked_once(
        self, engine_for, answer, reason, words
    ):
        with FakeServer(lambda asked: answer if asked.question == "bad" else "fine") as server:
            found = caption(engine_for(server), ask("a"), ask("b", "bad"), ask("c", "other"))
            assert server.questions.count("bad") == 1
        assert (found["b"].text, found["b"].reason) == ("", reason)
        assert words in found["b"].error
        assert [found[key].text for key in "ac"] == ["fine", "fine"]

    def test_what_can_t_be_sent_fails_alone(self, engine_for):
        with FakeServer() as server:
            engine = engine_for(server)
            found = caption(engine, ask("a"), ask("b", "\ud800"), ask("c", "x", system="\ud800"))
            assert [key for key in "abc" if found[key].error] == ["b", "c"]
            blind = caption(engine, ask("a"), ask("b", sees_picture=False), picture=None)
            assert [key for key in "ab" if blind[key].error] == ["a"]
