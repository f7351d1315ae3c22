import pytest

from nucleus_data.engines.captioner import Generated
from nucleus_data.stage import Row
from nucleus_data.stages.caption import asking as module
from nucleus_data.stages.caption.asking import Asking
from nucleus_data.stages.caption.failures import AskError
from nucleus_data.stages.caption.prompts import PROMPTS
from nucleus_data.stages.caption.settings import CaptionSettings
from nucleus_data.stages.caption.tables import SCHEMA
from tests.support.captions.standin import StandIn

RICH = "Someone wrote: {caption}\nTitle: {source.title}\nYear: {source.year}\nDescribe it."
VARIANTS = {
    "long": {"prompt": "long"},
    "brief": {"prompt": "short_from", "from": "long"},
    "tags": {"text": "Tags of {made}", "from": "brief", "picture": True},
    "rich": {"text": RICH, "words": [5, 20], "system": "You describe."},
    "facts": {"prompt": "attributes"},
    "warm": {"prompt": "short", "temperature": 0.71234, "presence_penalty": 1.2},
}


def asking(**settings):
    return Asking(CaptionSettings(**{"variants": VARIANTS} | settings), lambda t: len(t.split()))


def row(number=3, **columns):
    columns = {name.replace("__", ":"): value for name, value in columns.items()}
    return Row(0, number, f"{number:032x}", f"{number}.png", b"", columns, frozenset())


def upstream(**columns):
    return row(**{f"records__source.{name}": value for name, value in columns.items()})


def test_parents_are_asked_before_their_children():
    every = asking()
    assert every.roots({"long", "brief", "tags", "warm"}) == ["long", "warm"]
    assert every.roots({"tags", "warm"}) == ["tags", "warm"], "its parent is stored"
    assert every.children("long", {"long", "brief", "tags"}) == ["brief"]
    assert every.children("long", {"long", "tags"}) == []


def test_a_child_is_asked_about_its_parent_s_caption():
    ask = asking().ask(row(), "brief", 0, {"long": "A {caption} and {made}."})
    assert ask.question == PROMPTS["short_from"].replace("{made}", "A {caption} and {made}.")
    assert not ask.sees_picture
    assert ask.key == "0/3/brief/0"
    assert asking().ask(row(), "tags", 0, {"brief": "A ring."}).sees_picture


def test_a_parent_s_caption_of_an_earlier_run_is_read_from_its_table():
    stored = row(**{"caption.long__caption": "A ring.", "caption.long__error": None})
    assert "\nA ring.\n" in asking().ask(stored, "brief", 0, {}).question


@pytest.mark.parametrize(
    ("columns", "retryable", "said"),
    [
        ({}, True, "caption.long: no caption of this picture yet"),
        ({"caption.long__error": "caption_empty"}, False, "caption.long: caption_empty"),
    ],
)
def test_a_child_of_a_parent_without_caption(columns, retryable, said):
    with pytest.raises(AskError) as error:
        asking().ask(row(**columns), "brief", 0, {})
    assert error.value.failure == {
        "error": "parent_failed",
        "detail": said,
        "retryable": retryable,
    }


def test_upstream_columns_stand_in_their_places_and_missing_ones_take_their_line_along():
    def asked(**columns):
        return asking().ask(upstream(**columns), "rich", 0, {}).question

    assert asked(caption="A {made} ring", title=" Dawn ", year=1931.0) == (
        "Someone wrote: A {made} ring\nTitle: Dawn\nYear: 1931\nDescribe it."
    )
    assert asked(title="{caption}") == "Someone wrote: nothing\nTitle: {caption}\nDescribe it."
    with pytest.raises(AskError, match=r"source\.title: it is of type dict"):
        asked(title={})


def test_what_the_checks_see():
    one = upstream(caption="A ring", title="Dawn", year=None)
    every = asking(language="en")
    ask = every.ask(one, "rich", 0, {})
    said = every.said(one, "rich", ask, Generated("k", "Text.", "length", 9))
    assert (said.text, said.finish_reason, said.tokens, said.max_tokens) == (
        "Text.",
        "length",
        9,
        256,
    )
    assert (said.question, said.template, said.upstream) == (ask.question, RICH, "A ring")
    assert (said.facts, said.words, said.language) == ({"title": "Dawn"}, (5, 20), "en")
    assert said.system == "You describe."
    facts = every.ask(one, "facts", 0, {})
    assert every.said(one, "facts", facts, Generated("k", "{}")).schema == facts.schema is not None


@pytest.mark.parametrize(
    ("columns", "text", "found"),
    [
        ({"year": 1931, "cats": 3}, "Five black cats in 1931.", "it counts 5 of 'cat'"),
        ({"year": 1931.0, "cats": 3.0}, "Five black cats.", "it counts 5 of 'cat'"),
        ({"year": 1931, "cats": 3}, "Three cats in 1925.", "it says 1925"),
        ({"year": [1925, 1931], "cats": 3}, "Three cats in 1925.", None),
        ({"year": None, "cats": float("nan")}, "Five cats in 1925.", None),
        ({"year": 1931, "cats": 1925}, "A street in 1931.", None),
    ],
)
def test_stored_numbers_are_compared_with_what_is_said(columns, text, found):
    every = asking(variants={"told": {"text": "Describe it.\n{source.year}\n{source.cats}"}})
    one = upstream(**columns)
    ask = every.ask(one, "told", 0, {})
    fault = every.fault(every.said(one, "told", ask, Generated("k", text, "stop", 9)))
    assert (fault is None) if found is None else (fault and fault.detail.startswith(found))


def test_a_size_is_no_year():
    every = asking(variants={"told": {"text": "Describe it.\n{source.width}"}})
    one = upstream(width=1923)
    ask = every.ask(one, "told", 0, {})
    said = every.said(one, "told", ask, Generated("k", "A street in 1925.", "stop", 9))
    assert every.fault(said) is None


def test_an_answer_is_looked_at_once(monkeypatch):
    every, looked = asking(), []
    told = module.examine
    monkeypatch.setattr(module, "examine", lambda *a: looked.append(a) or told(*a))
    ask = every.ask(row(), "long", 0, {})
    for text in ("A ring.", "", "A cube."):
        generated = Generated(ask.key, text, "stop", 5)
        fault = every.fault(every.said(row(), "long", ask, generated))
        assert (fault.check if fault else None) == (None if text else "empty")
        every.provenance(row(), "long", 0, ask, generated, StandIn(), "f" * 64)
    assert len(looked) == 3


def test_the_first_attempt_is_as_configured_and_further_ones_are_warmer():
    def drawn(name, attempt):
        sampling = asking().ask(row(), name, attempt, {}).sampling
        return sampling.temperature, sampling.presence_penalty

    assert [drawn("long", attempt) for attempt in range(5)] == [
        (0.0, 0.0),
        (0.3, 0.5),
        (0.6, 1.0),
        (0.9, 1.5),
        (1.0, 1.5),
    ]
    assert [drawn("warm", attempt) for attempt in range(4)] == [
        (0.71234, 1.2),
        (0.71234, 1.2),
        (0.71234, 1.2),
        (0.9, 1.5),
    ]
    assert [drawn("facts", attempt) for attempt in range(3)] == [(0.0, 0.0), (0.3, 0.0), (0.6, 0.0)]


def test_every_attempt_of_every_record_and_variant_has_a_seed_of_its_own():
    variants = {name: {"prompt": "short", "temperature": 0.5} for name in ("a", "b")}

    def seeds(seed):
        every = asking(variants=variants, seed=seed)
        asks = [(n, v, k) for n in range(3) for v in "ab" for k in range(3)]
        return {each: every.ask(row(each[0]), *each[1:], {}).sampling.seed for each in asks}

    first = seeds(7)
    assert len(set(first.values())) == 18
    assert all(0 < seed < 2**63 for seed in first.values())
    assert seeds(7) == first
    assert not set(seeds(8).values()) & set(first.values())


def test_the_seed_of_the_settings_changes_nothing_of_a_greedy_variant():
    one, other = asking(seed=1), asking(seed=2)
    for attempt in range(3):
        asks = [each.ask(row(), "long", attempt, {}) for each in (one, other)]
        assert asks[0] == asks[1]
    assert one.ask(row(), "long", 0, {}).sampling.seed == 0


def values(name, attempt=0, columns=None, **settings):
    every, one = asking(**settings), row(**columns or {})
    ask = every.ask(one, name, attempt, {"long": "A long one.", "brief": "A brief one."})
    generated = Generated(ask.key, "A ring lies on it.", "stop", 5, prompt_tokens=40)
    return every.provenance(one, name, attempt, ask, generated, StandIn(), "f" * 64), ask


def test_provenance_is_complete():
    found, ask = values("rich", columns={"records__source.caption": "A ring"})
    # The flow adds the text, and what attempts before failed.
    assert {"caption", *found, "faults"} == {*SCHEMA.names}
    assert found | {"checks": None} == {
        "source": "refined",
        "parent": "source",
        "model": "nano",
        "revision": found["revision"],
        "prompt": "own",
        "prompt_hash": found["prompt_hash"],
        "question": ask.question,
        "system": "You describe.",
        "schema": None,
        "max_tokens": 256,
        "min_tokens": 0,
        "temperature": 0.0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "repetition_penalty": 1.0,
        "stop": [],
        "seed": None,
        "attempt": 0,
        "attempts": 1,
        "engine": "stand-in",
        "engine_version": "0",
        "image_sha256": "f" * 64,
        "finish_reason": "stop",
        "tokens": 5,
        "prompt_tokens": 40,
        "checks": None,
        "flags": [],
    }
    assert {"empty", "words", "contradiction"} <= set(found["checks"])
    assert not {"language", "invalid_json"} & set(found["checks"]), "they looked at nothing"
    again, ask = values("rich", attempt=2)
    assert (again["attempt"], again["attempts"], again["temperature"]) == (2, 3, 0.6)
    assert again["seed"] == ask.sampling.seed != 0


@pytest.mark.parametrize(
    ("name", "columns", "source", "parent"),
    [
        ("long", {}, "synthesized", None),
        ("rich", {}, "synthesized", None),
        ("rich", {"records__source.caption": " "}, "synthesized", None),
        ("rich", {"records__source.title": "Dawn"}, "refined", "source"),
        ("brief", {}, "synthesized", "long"),
        ("tags", {}, "synthesized", "brief"),
    ],
)
def test_a_caption_says_what_it_is_made_from(name, columns, source, parent):
    found, _ = values(name, columns=columns)
    assert (found["source"], found["parent"]) == (source, parent)


def test_what_is_made_from_a_refined_caption_is_refined():
    variants = {"long": {"prompt": "refine"}, "brief": {"prompt": "short_from", "from": "long"}}
    columns = {"records__source.caption": "A ring"}
    assert values("brief", variants=variants, columns=columns)[0]["source"] == "refined"
    assert values("brief", variants=variants)[0]["source"] == "synthesized"


def test_the_parent_may_have_been_made_while_longer_texts_were_allowed():
    variants = {"long": {"prompt": "refine"}, "brief": {"prompt": "short_from", "from": "long"}}
    columns = {"records__source.caption": "A ring on a table"}
    found, _ = values("brief", variants=variants, columns=columns, max_upstream_tokens=2)
    assert found["source"] == "refined"


def test_a_text_without_its_picture_has_no_hash_of_it():
    assert values("brief")[0]["image_sha256"] is None
