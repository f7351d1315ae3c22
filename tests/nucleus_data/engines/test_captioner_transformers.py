import json

import pytest

from nucleus_data.engines.captioner import Ask, EngineSettings, Sampling
from nucleus_data.engines.load import load_engine
from nucleus_data.world import captions, scene
from tests.support.captioned import (
    HELD_OUT,
    ask,
    caption_all,
    check_penalised,
    drain,
    hostile,
    needs_torch,
    penalised,
    requests,
)
from tests.support.captions.thinker import check_thoughts, make_thinker, thoughts


@needs_torch
@pytest.mark.slow
class TestTransformers:
    def test_captions_of_held_out_scenes_are_mostly_right(self, transformers_engine):
        made = caption_all(transformers_engine, 48)
        right = words = 0
        for key, caption in made.items():
            index, variant = key.split("/")
            truth = captions(scene(HELD_OUT, int(index)))[variant].split()
            found = caption.text.split()
            right += sum(a == b for a, b in zip(truth, found, strict=False))
            words += max(len(truth), len(found))
            assert caption.finish_reason == "stop"
            assert 0 < caption.tokens <= 128
        assert right / words > 0.8

    def test_seed_decides_a_drawn_caption(self, transformers_engine):
        _, image, prompt = next(requests(1))
        for company in (1, 5):
            for seed in range(company):
                drawn = Sampling(48, temperature=2.0, seed=seed)
                ask(transformers_engine, Ask(str(seed), prompt, drawn), image)
            made = drain(transformers_engine)
            if company == 1:
                alone = made["0"].text
        assert made["0"].text == alone
        assert len({m.text for m in made.values()}) > 1

    def test_penalties_and_top_p_change_captions(self, transformers_engine):
        made = penalised(transformers_engine)
        check_penalised({key: one.text for key, one in made.items()})

    @pytest.mark.parametrize("special", [True, False])
    def test_thinking_is_turned_off_and_in_no_caption(self, transformers_engine, tmp_path, special):
        make_thinker(tmp_path, special=special)
        settings = EngineSettings(engine="transformers", model=str(tmp_path), max_side=256)
        check_thoughts(thoughts(load_engine(settings)), thoughts(transformers_engine))

    def test_a_question_about_no_picture_is_refused(self, transformers_engine):
        asks = [
            Ask("a", "What is it?", Sampling(8)),
            Ask("b", "x", Sampling(8), sees_picture=False),
        ]
        made = drain(transformers_engine, ask(transformers_engine, *asks, None))
        assert (made["a"].reason, made["b"].error) == ("caption_refused", "")
        assert "none is there" in made["a"].error

    def test_length_and_refusal(self, transformers_engine):
        _, image, prompt = next(requests(1))
        asks = [Ask("short", prompt, Sampling(3)), Ask("long", prompt * 1000, Sampling(3))]
        made = drain(transformers_engine, ask(transformers_engine, *asks, image))
        assert (made["short"].finish_reason, made["short"].tokens) == ("length", 3)
        assert made["short"].prompt_tokens > 3
        assert made["long"].error.startswith("refused")
        assert made["long"].reason == "too_long"

    def test_inputs_are_those_of_the_processor_on_the_whole_batch(self, transformers_engine):
        import torch
        from PIL import Image

        engine = transformers_engine
        wanted = [(image, prompt) for _, image, prompt in requests(4)]
        content = [[{"type": "image"}, {"type": "text", "text": prompt}] for _, prompt in wanted]
        texts = [
            engine._processor.apply_chat_template(
                [{"role": "user", "content": one}], add_generation_prompt=True, tokenize=False
            )
            for one in content
        ]
        images = [Image.fromarray(image) for image, _ in wanted]
        expected = engine._processor(
            text=texts, images=images, padding=True, padding_side="left", return_tensors="pt"
        )
        prepared = [engine.prepare(i, [Ask("", prompt, Sampling(8))]) for i, prompt in wanted]
        made = engine._batched([one.work[0].inputs for one in prepared])
        assert set(made) == set(expected)
        for name, tensor in expected.items():
            assert torch.equal(made[name].cpu(), tensor), name

    def test_a_hostile_request_costs_itself_at_most(self, transformers_engine):
        _, image, prompt = next(requests(1))
        ask(transformers_engine, Ask("alone", prompt, Sampling(24)), image)
        alone = drain(transformers_engine)["alone"].text
        failed = []
        for key, (picture, text) in hostile(image, prompt).items():
            failed += ask(transformers_engine, Ask(key, text, Sampling(24)), picture)
        made = drain(transformers_engine, failed)
        assert made["fine"].text == alone
        errors = {key: found.reason for key, found in made.items() if found.error}
        assert errors == {"205:1": "caption_refused", "surrogate": "engine_raised"}
        assert "aspect ratio" in made["205:1"].error
        assert made["205:1"].text == ""
        assert transformers_engine.count_tokens("<|image_pad|>") > 1

    def test_a_batch_that_raises_is_done_one_by_one(self, transformers_engine, monkeypatch):
        engine = transformers_engine
        generate = engine._model.generate
        (poison,) = engine._chats.usual.plain("Z")

        def faulty(**inputs):
            if (inputs["input_ids"] == poison).any():
                raise RuntimeError("a kernel failed")
            return generate(**inputs)

        monkeypatch.setattr(engine._model, "generate", faulty)
        _, image, prompt = next(requests(1))
        asks = [Ask(k, prompt + ("Z" if k == "b" else ""), Sampling(8)) for k in "abc"]
        ask(engine, *asks, image)
        made = drain(engine)
        assert (made["b"].error, made["b"].reason) == (
            "RuntimeError: a kernel failed",
            "engine_raised",
        )
        assert made["a"].text == made["c"].text != ""

    def test_a_picture_is_processed_once_for_all_asks_and_some_see_none(
        self, transformers_engine, monkeypatch
    ):
        engine, calls = transformers_engine, []
        framed = engine._framed
        monkeypatch.setattr(engine, "_framed", lambda *given: calls.append(given) or framed(*given))
        _, image, prompt = next(requests(1))
        asks = [
            Ask("plain", prompt, Sampling(40)),
            Ask("stop", prompt, Sampling(40, stop=(" ",))),
            Ask("least", prompt, Sampling(40, min_tokens=38)),
            Ask("text", "A red ring.", Sampling(40), sees_picture=False),
        ]
        engine.counts()
        made = drain(engine, ask(engine, *asks, image))
        assert len(calls) == 2
        assert made["stop"].text == made["plain"].text.split(" ")[0]
        assert made["least"].tokens >= 38 > made["plain"].tokens
        assert made["text"].prompt_tokens < made["plain"].prompt_tokens
        assert engine.counts()["pictures"] == 3
        told = [Ask("told", prompt, Sampling(8), system="Be brief.")]
        longer = drain(engine, ask(engine, *told, image))["told"].prompt_tokens
        assert longer > made["plain"].prompt_tokens

    def test_an_answer_follows_its_schema(self, transformers_engine):
        pytest.importorskip("xgrammar")
        schema = '{"type": "object", "required": ["a"], "properties": {"a": {"enum": [1, 2]}}}'
        _, image, prompt = next(requests(1))
        asks = [
            Ask("json", prompt, Sampling(40), schema=schema),
            Ask("plain", prompt, Sampling(40)),
            Ask("wrong", prompt, Sampling(40), schema="{"),
        ]
        made = drain(transformers_engine, ask(transformers_engine, *asks, image))
        assert json.loads(made["json"].text)["a"] in (1, 2)
        assert made["wrong"].error
        assert made["plain"].text
