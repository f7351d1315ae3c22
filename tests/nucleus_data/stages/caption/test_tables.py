"""Which caption tables one changed setting makes anew."""

import copy

import pytest

from nucleus_data.config import ADDED
from nucleus_data.runner.pins import Pins
from nucleus_data.stages.caption import prompts
from nucleus_data.stages.caption.checks import Checks
from nucleus_data.stages.caption.checks.refusal import Refusal
from nucleus_data.stages.caption.settings import CaptionSettings
from nucleus_data.stages.caption.stage import Caption
from nucleus_data.stages.caption.tables import caption_columns, caption_tables

GREEDY, DRAWN, BRIEF, RICH, FACTS = "greedy", "drawn", "brief", "rich", "facts"
EVERY = {GREEDY, DRAWN, BRIEF, RICH, FACTS}
PICTURES = EVERY - {BRIEF}  # those that see it; what is made from one that is made anew is, too
SETTINGS = {
    "variants": {
        # Before its parent, as nothing forbids it.
        BRIEF: {"prompt": "short_from", "from": GREEDY},
        GREEDY: {"prompt": "long"},
        DRAWN: {"prompt": "short", "temperature": 0.7},
        RICH: {"text": "Title: {source.title}\nOf {caption}, say more."},
        FACTS: {"prompt": "attributes", "schema": {"type": "object"}},
    }
}


def hashes(settings):
    found = Pins.of([Caption(CaptionSettings(**settings))]).tables
    return {name.removeprefix("caption."): key for name, key in found.items() if "caption" in name}


def with_(key, value):
    """The settings with one of them changed; `greedy.text` is the variant's."""
    settings, place = copy.deepcopy(SETTINGS), None
    first, _, rest = key.partition(".")
    if first in EVERY:
        settings["variants"][first][rest] = value
        return settings
    place = settings
    for name in key.split(".")[:-1]:
        place = place.setdefault(name, {})
    place[key.split(".")[-1]] = value
    return settings


def anew(key, value):
    """The tables that are made anew when a setting is changed."""
    now, then = hashes(SETTINGS), hashes(with_(key, value))
    return {name for name in now if then.get(name) != now[name]}


@pytest.mark.parametrize(
    ("key", "value", "right"),
    [
        # What changes texts, of one variant and of what is made from it.
        ("greedy.text", "Say what is there.", {GREEDY, BRIEF}),
        ("greedy.max_tokens", 99, {GREEDY, BRIEF}),
        ("greedy.temperature", 0.1, {GREEDY, BRIEF}),
        ("greedy.top_p", 0.9, {GREEDY, BRIEF}),
        ("greedy.presence_penalty", 1.0, {GREEDY, BRIEF}),
        ("greedy.repetition_penalty", 1.1, {GREEDY, BRIEF}),
        ("greedy.min_tokens", 4, {GREEDY, BRIEF}),
        ("greedy.stop", ["\n"], {GREEDY, BRIEF}),
        ("greedy.system", "You describe.", {GREEDY, BRIEF}),
        ("greedy.words", [3, 9], {GREEDY, BRIEF}),
        ("brief.prompt", "very_short_from", {BRIEF}),
        ("brief.picture", True, {BRIEF}),
        ("brief.from", DRAWN, {BRIEF}),
        ("drawn.max_tokens", 99, {DRAWN}),
        ("rich.text", "Title: {source.title}\nOf {caption}, say less.", {RICH}),
        ("facts.schema", {"type": "object", "properties": {}}, {FACTS}),
        # Of all variants, or of those whose text it changes.
        ("dtype", "bfloat16", EVERY),
        ("system", "You describe.", EVERY),
        ("language", "en", EVERY),
        ("template_args", {"enable_thinking": False}, EVERY),
        ("vllm_args", {"quantization": "fp8"}, EVERY),
        ("vllm_args", {"no_such_argument": 1}, EVERY),
        ("max_side", 512, PICTURES | {BRIEF}),
        ("max_pixels", 100_000, PICTURES | {BRIEF}),
        ("seed", 1, {DRAWN}),
        ("checks.empty.action", "off", EVERY),
        ("checks.repetition.action", "flag", EVERY),
        ("checks.contradiction.action", "off", {RICH}),
        ("checks.invalid_json.action", "off", {FACTS}),
        # What changes none: how it is run, how often it is asked, and who is asked about.
        ("max_model_len", 2048, set()),
        ("max_in_flight", 8, set()),
        ("engine", "transformers", set()),
        ("gpu_memory_utilization", 0.5, set()),
        ("max_upstream_tokens", 9, set()),
        ("attempts", 5, set()),
        ("vllm_args", {"max_num_batched_tokens": 4096, "tensor_parallel_size": 2}, set()),
        ("checks.words.slack", 0.5, set()),
        ("checks.language.words", 9, set()),
        ("greedy.share", 0.5, set()),
        ("greedy.where", "similarity < 0.3", set()),
        ("greedy.prompt", "long@1", set()),
        ("greedy.picture", True, set()),
        ("brief.picture", False, set()),
    ],
)
def test_the_tables_that_a_setting_makes_anew(key, value, right):
    assert anew(key, value) == right


def test_a_prompt_is_its_text_whatever_its_name(tmp_path):
    (tmp_path / "mine.txt").write_text(prompts.PROMPTS["long"] + "\n")
    assert anew("greedy.prompt", str(tmp_path / "mine.txt")) == set()
    assert anew("greedy.text", prompts.PROMPTS["long"]) == set()


def test_the_picture_s_size_changes_no_text_that_is_made_without_it():
    def own(**settings):
        found = caption_tables(CaptionSettings(**SETTINGS | settings))
        return next(spec for spec in found if spec.name == f"caption.{BRIEF}").settings

    assert own(max_side=512, max_pixels=100_000) == own()


def test_checks_that_only_mark_change_no_text():
    flagged = with_("checks.empty.action", "flag")
    assert hashes(flagged) == hashes(with_("checks.empty.action", "off"))


def test_a_check_that_came_later_makes_no_caption_anew_until_it_is_changed(monkeypatch):
    monkeypatch.setattr(Refusal, "added", True)
    monkeypatch.setattr(Checks.model_fields["refusal"], "json_schema_extra", ADDED)
    spec = caption_tables(CaptionSettings(**SETTINGS))[0]
    assert "refusal" not in spec.settings["checks"]
    assert "cut" in spec.settings["checks"]
    assert anew("checks.refusal.action", "off") == EVERY


def test_what_a_check_that_is_off_would_read_changes_no_text():
    off = with_("checks.words.action", "off")
    worded = copy.deepcopy(off)
    worded["variants"][GREEDY]["words"] = [3, 9]
    assert hashes(worded) == hashes(off)


def test_another_variant_makes_none_anew():
    more = with_("variants.more", {"prompt": "tags"})
    found = hashes(more)
    assert {name: found[name] for name in EVERY} == hashes(SETTINGS)


def test_what_enters_a_question_is_an_input():
    specs = {spec.name: spec for spec in caption_tables(CaptionSettings(**SETTINGS))}
    assert specs["caption.rich"].inputs == ("records",)
    assert specs["caption.brief"].inputs == ("caption.greedy",)
    assert specs["caption.greedy"].inputs == ()
    order = list(specs)
    assert order.index("caption.greedy") < order.index("caption.brief")


def test_only_what_is_asked_about_is_read():
    assert caption_columns(CaptionSettings()) == ()
    assert set(caption_columns(CaptionSettings(**SETTINGS))) == {
        "records:source.title",
        "records:source.caption",
        "caption.greedy:caption",
        "caption.greedy:error",
    }
