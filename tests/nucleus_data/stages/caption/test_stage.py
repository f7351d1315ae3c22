"""The caption stage with a fake engine (it says what it was asked); real ones are in
test_captioning.py.
"""

import dataclasses
import io
import itertools
import pickle

import numpy as np
import pytest
from pydantic import ValidationError

from nucleus_data.engines.captioner import Ask, Generated, Sampling
from nucleus_data.errors import RequestError
from nucleus_data.stage import Result, Row, RowFailure, TableFailure
from nucleus_data.stages.caption import stage as module
from nucleus_data.stages.caption.prompts import PROMPTS
from nucleus_data.stages.caption.settings import CaptionSettings, Variant
from nucleus_data.stages.caption.stage import Caption
from nucleus_data.world import render, scene
from tests.support.captions.standin import StandIn, answering, place
from tests.support.captions.unchecked import OFF


def encoded(index, form="PNG", size=(120, 80)):
    stream = io.BytesIO()
    render(scene(0, index), *size).save(stream, form)
    return stream.getvalue()


def row(number, shard=0, image=None, wanted=("caption.short", "caption.long")):
    image = encoded(number) if image is None else image
    return Row(shard, number, f"{number:032x}", f"{number}.png", image, {}, frozenset(wanted))


def stage(monkeypatch, engine, **settings):
    monkeypatch.setattr(module, "load_engine", lambda settings: engine)
    made = Caption(CaptionSettings(**{"checks": OFF} | settings))
    made.setup()
    return made


def test_every_row_gets_every_variant(monkeypatch):
    engine = StandIn()
    outcomes = list(stage(monkeypatch, engine).process(iter([row(i) for i in range(5)])))
    assert sorted(o.row.row for o in outcomes) == list(range(5))
    for outcome in outcomes:
        assert isinstance(outcome, Result)
        assert set(outcome.values) == {"caption.short", "caption.long"}
        for name in ("short", "long"):
            prompt = PROMPTS[name]
            values = outcome.values[f"caption.{name}"]
            assert values["caption"] == f"{prompt} 0/{outcome.row.row}/{name}"
            assert set(values) == set(module.SCHEMA.names)
            assert (values["source"], values["parent"], values["model"]) == (
                "synthesized",
                None,
                "nano",
            )
            assert (values["prompt"], values["engine"], values["tokens"]) == (
                f"{name}@1",
                "stand-in",
                5,
            )


@pytest.mark.parametrize("caption", ["A {red} ring\n", "", None])
def test_a_refiner_is_given_the_caption_that_came_with_the_record(monkeypatch, caption):
    variants = {"better": {"prompt": "refine"}, "short": {"prompt": "short"}}
    refiner = stage(monkeypatch, StandIn(), variants=variants)
    assert refiner.columns == ("records:source.caption",)
    one = row(0, wanted=("caption.better", "caption.short"))
    one.columns = {"records:source.caption": caption}
    (outcome,) = refiner.process(iter([one]))
    told = outcome.values["caption.better"]
    assert told["caption"].startswith(
        "Someone wrote of this image: " + ("A {red} ring\nWrite" if caption else "nothing\nWrite")
    )
    assert (told["source"], told["parent"]) == (
        ("refined", "source") if caption else ("synthesized", None)
    )
    assert outcome.values["caption.short"]["source"] == "synthesized"


def test_a_stage_that_refines_nothing_reads_no_captions():
    assert Caption(CaptionSettings()).columns == ()


def test_results_come_when_they_are_done_whatever_the_shard(monkeypatch):
    rows = [row(number, shard=number % 2) for number in range(8)]
    outcomes = list(stage(monkeypatch, StandIn(pace_s=0.001)).process(iter(rows)))
    places = [o.row.row for o in outcomes]
    assert sorted(places) == list(range(8))
    assert places != sorted(places), "each has its own length"


def test_only_wanted_variants_are_asked_for(monkeypatch):
    engine = StandIn()
    rows = [row(0, wanted=["caption.long"]), row(1, wanted=[])]
    outcomes = {o.row.row: o for o in stage(monkeypatch, engine).process(iter(rows))}
    assert set(outcomes[0].values) == {"caption.long"}
    assert outcomes[1].values == {}
    assert len(engine.submitted) == 1


def test_engine_is_kept_full_and_never_overfull(monkeypatch):
    settings = CaptionSettings(max_in_flight=6)
    engine = StandIn(settings, pace_s=0.005)
    work = stage(monkeypatch, engine, max_in_flight=6, probes=0)
    assert len(list(work.process(iter([row(i) for i in range(20)])))) == 20
    assert engine.most == 6
    assert np.mean(engine.held[5:-10]) > 4, "it did not wait for the rows before"
    assert engine.rounds == [2] * 20, "a picture is prepared once for both"


def test_none_steps_the_engine_until_the_rows_are_back(monkeypatch):
    engine = StandIn()
    read = []

    def feed():
        for i in range(2):
            read.append(i)
            yield row(i)
        yield from itertools.repeat(None)

    work = stage(monkeypatch, engine).process(feed())
    assert {next(work).row.row, next(work).row.row} == {0, 1}
    assert engine.steps == 4, "one step of one request for each None"
    assert read == [0, 1]


def test_without_none_rows_are_held_until_the_engine_is_full(monkeypatch):
    engine = StandIn()
    taken = []

    def feed():
        for i in range(4):
            taken.append(i)
            yield row(i)

    next(stage(monkeypatch, engine, max_in_flight=8).process(feed()))
    assert taken == [0, 1, 2, 3]


def of_row(number, outcomes):
    """What each variant of a row came to: its caption, or its failure without its provenance."""
    (found,) = [o for o in outcomes if o.row.row == number]
    return {
        table.removeprefix("caption."): without(values) if "error" in values else values["caption"]
        for table, values in found.values.items()
    }


def without(failure):
    return {name: value for name, value in failure.items() if name != "values"}


def failed(reason, detail, *, retryable=False):
    found = TableFailure(error=reason, detail=detail, attempts=1)
    return found | {"retryable": True} if retryable else found


EMPTY = failed("caption_empty", "the model ended after 5 tokens with ''")


@pytest.mark.parametrize(
    ("answer", "reason", "of_the_answer"),
    [
        ({"text": ""}, "caption_empty", {"finish_reason": "stop", "tokens": 5, "faults": []}),
        (
            {"text": "I can't help with that."},
            "refusal",
            {"tokens": 5, "faults": ["refusal"] * 3, "attempt": 2, "temperature": 0.6},
        ),
        ({"text": "", "error": "refused", "reason": "too_long"}, "too_long", {"attempt": 0}),
    ],
)
def test_a_failure_has_its_provenance(monkeypatch, answer, reason, of_the_answer):
    checks = {**OFF, "refusal": {"action": "ask_again"}}
    work = stage(monkeypatch, StandIn(say=answering({"0/0/long": answer})), checks=checks)
    (outcome,) = work.process(iter([row(0)]))
    failure = outcome.values["caption.long"]
    assert failure["error"] == reason
    how = failure["values"]
    caption = outcome.values["caption.short"]
    assert how.keys() <= {*module.SCHEMA.names} - {"caption"}
    for name in ("model", "revision", "engine", "engine_version", "image_sha256", "source"):
        assert how[name] == caption[name] is not None
    assert how["prompt"].startswith("long@")
    assert how["question"] == PROMPTS["long"]
    assert how["attempts"] == failure["attempts"] == how["attempt"] + 1
    assert {name: how[name] for name in of_the_answer} == of_the_answer
    assert (how["seed"] is None) == (how["temperature"] == 0)
    assert ("tokens" in how) == ("error" not in answer)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ({"text": ""}, EMPTY),
        (
            {"text": "\x00\u200f"},
            failed("caption_empty", "the model ended after 5 tokens with '\\x00\\u200f'"),
        ),
        (
            {"text": "a \ud800"},
            failed(
                "caption_not_text",
                "'utf-8' codec can't encode character '\\ud800' in position 2:"
                " surrogates not allowed",
            ),
        ),
        (
            {"text": "", "error": "refused: too long"},
            failed("caption_refused", "refused: too long", retryable=True),
        ),
        (
            {"text": "", "error": "KeyError: 1", "reason": "engine_raised"},
            failed("engine_raised", "KeyError: 1", retryable=True),
        ),
        ({"text": "I can't help with that."}, None),  # words are a caption
        ({"text": "cut in the mid", "finish_reason": "length"}, None),
    ],
)
def test_a_caption_that_failed_fails_its_variant_only(monkeypatch, answer, failure):
    work = stage(monkeypatch, StandIn(say=answering({"0/1/long": answer})))
    outcomes = list(work.process(iter([row(i) for i in range(3)])))
    assert len(outcomes) == 3
    for number in range(3):
        found = of_row(number, outcomes)
        assert found["short"] == f"{PROMPTS['short']} 0/{number}/short"
        if number != 1:
            assert found["long"] == f"{PROMPTS['long']} 0/{number}/long"
        elif failure is None:
            assert found["long"] == answer["text"]
        else:
            assert found["long"] == failure


class Faulty(StandIn):
    """Refuses, raises at, loses or repeats what is asked about row 1."""

    def __init__(self, fault):
        super().__init__(per_step=2)
        self.fault = fault

    def prepare(self, picture, asks):
        if self.fault == "refuses":
            found = super().prepare(picture, [a for a in asks if place(a.key) != "0/1/long"])
            lost = [a.key for a in asks if place(a.key) == "0/1/long"]
            failed = [Generated(key, error="refused: no", reason="too_long") for key in lost]
            return dataclasses.replace(found, failed=failed)
        if self.fault == "raises" and asks[0].key.startswith("0/1/"):
            raise KeyError("on prepare")
        return super().prepare(picture, asks)

    def submit(self, prepared):
        if self.fault == "raises late" and prepared.keys[0].startswith("0/1/"):
            raise KeyError("on submit")
        super().submit(prepared)

    def step(self):
        done = super().step()
        if self.fault == "loses":
            return [made for made in done if place(made.key) != "0/1/long"]
        return done * 2 if self.fault == "repeats" else done


def raised_on(what):
    return failed("engine_raised", f"KeyError: 'on {what}'", retryable=True)


@pytest.mark.parametrize(
    ("fault", "short", "long"),
    [
        ("refuses", None, failed("too_long", "refused: no", retryable=True)),
        ("raises", raised_on("prepare"), raised_on("prepare")),
        ("raises late", raised_on("submit"), raised_on("submit")),
        ("loses", None, failed("engine_lost", "it gave nothing back", retryable=True)),
        ("repeats", None, None),
    ],
)
def test_an_engine_s_fault_costs_that_request_or_that_picture(monkeypatch, fault, short, long):
    rows = [row(i) for i in range(4)]
    outcomes = list(stage(monkeypatch, Faulty(fault), max_in_flight=4).process(iter(rows)))
    assert sorted(o.row.row for o in outcomes) == [0, 1, 2, 3]
    for number in range(4):
        expected = {name: f"{PROMPTS[name]} 0/{number}/{name}" for name in ("short", "long")}
        if number == 1:
            faults = {"short": short, "long": long}
            expected |= {name: fault for name, fault in faults.items() if fault}
        assert of_row(number, outcomes) == expected


def test_what_is_left_of_an_earlier_call_is_no_answer_to_this_one(monkeypatch):
    engine = StandIn()
    work = stage(monkeypatch, engine)
    earlier = Ask("0/9/short/0", "x", Sampling(8))
    engine.submit(engine.prepare(np.zeros((8, 8, 3), np.uint8), [earlier]))
    assert [o.row.row for o in work.process(iter([row(0)]))] == [0]


REFINING = {"better": {"prompt": "refine"}, "short": {"prompt": "short"}}


def refined(monkeypatch, caption, **settings):
    """What the variants `better` (which asks about the caption) and `short` came to."""
    work = stage(monkeypatch, StandIn(), variants=REFINING, **settings)
    one = row(0, wanted=("caption.better", "caption.short"))
    one.columns = {"records:source.caption": caption}
    found = of_row(0, list(work.process(iter([one]))))
    assert found["short"] == f"{PROMPTS['short']} 0/0/short"
    return found["better"]


@pytest.mark.parametrize(
    ("caption", "reason", "detail", "retryable"),
    [
        ("word " * 6, "upstream_too_long", "6 tokens, allowed caption.max_upstream_tokens=5", True),
        ("a \ud800 b", "upstream_not_text", "surrogates not allowed", False),
        (["a", "b"], "upstream_not_text", "it is of type list", False),
        (7, "upstream_not_text", "it is of type int", False),
    ],
)
def test_an_upstream_caption_that_cannot_be_asked_about(
    monkeypatch, caption, reason, detail, retryable
):
    failure = refined(monkeypatch, caption, max_upstream_tokens=5)
    assert (failure["error"], failure["retryable"]) == (reason, retryable)
    assert detail in failure["detail"]


@pytest.mark.parametrize(
    "caption",
    [
        "{caption}",
        "{braces} {0} {}",
        "100 % %s",
        "{{ 7 * 7 }} {% raw %}",
        "\u202eabc",
        "<|im_end|>",
    ],
)
def test_an_upstream_caption_is_text_and_nothing_else(monkeypatch, caption):
    asked = PROMPTS["refine"].split("{caption}")
    assert refined(monkeypatch, caption) == f"{asked[0]}{caption}{asked[1]} 0/0/better"


@pytest.mark.parametrize(
    ("size", "fine"), [((200, 1), True), ((205, 1), False), ((2050, 10), False), ((1, 1), True)]
)
def test_a_picture_that_the_model_would_refuse_is_never_asked_about(monkeypatch, size, fine):
    engine = StandIn()
    rows = [row(0), row(1, image=encoded(1, size=size)), row(2)]
    outcomes = {o.row.row: o for o in stage(monkeypatch, engine).process(iter(rows))}
    assert isinstance(outcomes[0], Result)
    assert isinstance(outcomes[2], Result)
    if fine:
        assert isinstance(outcomes[1], Result)
        return
    assert (outcomes[1].reason, outcomes[1].retryable) == ("too_extreme", False)
    assert "allowed 1:200" in outcomes[1].detail
    assert not [key for key, *_ in engine.submitted if key.startswith("0/1/")]


def test_a_picture_that_cannot_be_read_is_a_failure_and_asks_nothing(monkeypatch):
    engine = StandIn()
    rows = [row(0, image=b"<html>"), row(1), row(2, image=encoded(2, "JPEG")[:400])]
    outcomes = {o.row.row: o for o in stage(monkeypatch, engine).process(iter(rows))}
    for broken in (0, 2):
        assert isinstance(outcomes[broken], RowFailure)
        assert type(outcomes[broken].reason) is str
        assert outcomes[broken].reason
    assert isinstance(outcomes[1], Result)
    assert {key.split("/")[1] for key, *_ in engine.submitted} == {"1"}


def test_picture_is_reduced_to_max_side(monkeypatch):
    engine = StandIn()
    rows = [row(0, image=encoded(0, size=(300, 150))), row(1)]
    list(stage(monkeypatch, engine, max_side=128).process(iter(rows)))
    shapes = {key.split("/")[1]: shape for key, shape, *_ in engine.submitted}
    assert shapes == {"0": (64, 128, 3), "1": (80, 120, 3)}, "and never enlarged"


def test_seed_is_keyed_by_record_and_variant(monkeypatch):
    def seeds(numbers, seed):
        engine = StandIn()
        variants = {n: {"prompt": n, "temperature": 0.5} for n in ("short", "long")}
        work = stage(monkeypatch, engine, seed=seed, variants=variants)
        outcomes = list(work.process(iter([row(n) for n in numbers])))
        asked = {place(key): ask.sampling.seed for key, _, ask in engine.submitted}
        for o in outcomes:
            for table, values in o.values.items():
                name = table.removeprefix("caption.")
                assert values["seed"] == asked[f"0/{o.row.row}/{name}"]
        return asked

    first = seeds([0, 1, 2], 7)
    assert len(set(first.values())) == 6
    assert all(0 <= seed < 2**63 for seed in first.values())
    assert seeds([2, 0], 7) == {k: first[k] for k in first if k.split("/")[1] in "02"}
    assert not set(seeds([0, 1, 2], 8).values()) & set(first.values())


def test_sampling_goes_to_the_engine_and_the_table(monkeypatch):
    engine = StandIn()
    variants = {
        "tags": {
            "prompt": "tags",
            "text": "List what you see.",
            "max_tokens": 9,
            "temperature": 0.7,
            "top_p": 0.8,
            "presence_penalty": 1.5,
        }
    }
    work = stage(monkeypatch, engine, variants=variants)
    (outcome,) = work.process(iter([row(0, wanted=["caption.tags"])]))
    _, _, ask = engine.submitted[0]
    sampling = ask.sampling
    assert ask.question == "List what you see."
    assert (sampling.max_tokens, sampling.temperature) == (9, 0.7)
    assert (sampling.top_p, sampling.presence_penalty) == (0.8, 1.5)
    values = outcome.values["caption.tags"]
    assert (values["prompt"], values["max_tokens"], values["temperature"]) == ("tags", 9, 0.7)


def test_an_engine_that_raises_in_a_step_is_the_runner_s_matter(monkeypatch):
    class Broken(StandIn):
        def step(self):
            raise OSError("the device is gone")

    with pytest.raises(OSError, match="the device is gone"):
        list(stage(monkeypatch, Broken()).process(iter([row(0)])))


def test_process_before_setup_is_an_error():
    with pytest.raises(RuntimeError, match="setup"):
        next(Caption(CaptionSettings()).process(iter([row(0)])))


def hashed(**settings):
    return {t.name: t.settings for t in Caption(CaptionSettings(**settings)).tables()}


def test_tables_depend_on_what_changes_values_only():
    base = hashed()
    assert set(base) == {"caption.short", "caption.long"}
    assert hashed(engine="vllm", max_in_flight=3, gpu_memory_utilization=0.5) == base
    assert hashed(max_upstream_tokens=9) == base
    assert hashed(seed=1) == base, "both are greedy"
    assert hashed(max_side=512) != base
    more = hashed(
        variants={
            "short": Variant(prompt="short", max_tokens=96),
            "other": Variant(prompt="o", text="What is it?"),
        }
    )
    assert more["caption.short"] == base["caption.short"], "a new variant recaptions nothing"


def test_a_prompts_text_is_hashed_wherever_it_comes_from(monkeypatch):
    base = hashed()
    monkeypatch.setitem(PROMPTS, "short", "Say it briefly.")
    assert hashed()["caption.short"] != base["caption.short"]
    assert hashed()["caption.long"] == base["caption.long"]


def test_stage_travels_to_a_worker():
    copy = pickle.loads(pickle.dumps(Caption(CaptionSettings())))
    assert [t.settings for t in copy.tables()] == [
        t.settings for t in Caption(CaptionSettings()).tables()
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variants": {"x": {"prompt": "unheard"}}}, "unknown prompt"),
        ({"variants": {"x": {"prompt": "short", "max_tokens": 0}}}, "greater than or equal to 1"),
        ({"variants": {"Big One": {"prompt": "short"}}}, "lowercase"),
        ({"variants": {}}, "at least one variant"),
        (
            {"variants": {"x": {"prompt": "x", "text": "Someone wrote {alt_text}."}}},
            r"\{alt_text\}; allowed: \{caption\}",
        ),
        ({"temprature": 1}, "extra_forbidden"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        CaptionSettings(**settings)


def test_hub_model_without_revision_is_refused_before_anything_starts():
    with pytest.raises(RequestError, match="revision is required"):
        hashed(model="Qwen/Qwen3-VL-8B-Instruct")
