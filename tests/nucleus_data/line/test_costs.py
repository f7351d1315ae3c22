"""`nucleus caption --dry-run`: captions, tokens, time, price and mix, before a model is loaded."""

import re

import numpy as np
import pytest

from nucleus_data.errors import RequestError
from nucleus_data.line.recipe import load_recipe
from nucleus_data.stages.caption import costs as costs_module
from nucleus_data.stages.caption import stage as module
from nucleus_data.stages.caption.costs import (
    UNMEASURED,
    Measured,
    Rate,
    ToDo,
    cost_lines,
    costs,
    largest_picture,
    picture_tokens,
)
from nucleus_data.stages.caption.settings import CaptionSettings
from nucleus_data.views.status import status
from nucleus_data.views.status_lines import status_lines
from tests.support import curated
from tests.support.captions.standin import StandIn
from tests.support.routed import captioning, curated_copy, sensible, write_match
from tests.support.stepped import BARE, stage_lines

PRICES = [{"input_per_million": 0, "output_per_million": 10}] * 2
TWO = "caption.variants={short: {prompt: short, max_tokens: 50}, long: {prompt: long}}"
PRICE = "caption.price={input_per_million: 1000, output_per_million: 10000}"
MIX = "caption.mix={web: 0.2, refined: 0.4, synthesized: 0.4}"


@pytest.fixture
def corpus(tmp_path_factory, tmp_path):
    return curated_copy(tmp_path_factory, tmp_path)


def test_tokens_of_a_picture_follow_its_size_as_the_model_is_given_it():
    width, height = np.array([1024.0, 2048.0, 64.0, 3.0]), np.array([512.0, 1024.0, 64.0, 300.0])
    assert picture_tokens(width, height, 1024, None).tolist() == [512, 512, 4, 9]
    assert picture_tokens(width, height, 1024, 1024 * 128)[:2].tolist() == [128, 128]
    assert largest_picture(CaptionSettings(max_side=1024)) == 1024


def test_costs_are_the_most_that_they_can_be_or_as_stored_captions_were():
    settings = CaptionSettings(
        variants={
            "long": {"prompt": "long", "max_tokens": 200},
            "short": {"prompt": "short_from", "from": "long", "max_tokens": 40},
        },
        price={"input_per_million": 2, "output_per_million": 10},
    )
    todo = {"long": ToDo(1000, 500_000), "short": ToDo(1000, 0)}
    long, short = costs(settings, todo, {})
    assert (long.written, short.written) == (200_000, 40_000)
    assert 500_000 < long.read < 600_000
    assert 200_000 < short.read < 300_000, "the parent's text is in the question"
    (measured, _) = costs(settings, todo, {"long": Measured(100, 600, 80, 1.5)})
    assert (measured.read, measured.written, measured.measured) == (900_000, 120_000, 100)
    rates = {"": Rate(2.0, "caption.rate")}
    lines = list(cost_lines(settings, [measured, short], rates))
    assert lines[0] == (
        "  long: 1,000 captions, 900 k tokens read, 120 k written (based on 100 stored captions), "
        "price 3.00"
    )
    assert "2,000 captions" in lines[2]
    assert "17 min at 2 captions a second (caption.rate)" in lines[2]


@pytest.mark.slow
def test_a_dry_run_says_tokens_time_and_price_and_loads_no_model(corpus, monkeypatch):
    made, said, asked = captioning(corpus, monkeypatch, TWO, PRICE, dry_run=True)
    monkeypatch.setattr(made.stages["caption"], "setup", lambda: 1 / 0)
    made.do("caption")
    assert said[0] == "caption: 6 rows, 0 already done, 6 to do"
    # 96x64 pixels are 3x2 tokens; 16 of the template, and the prompt's letters.
    (read, written) = re.search(
        r"short: 6 captions, (\S+) tokens read, (\S+) written", said[1]
    ).groups()
    assert int(written) == 300
    assert 6 * (6 + 16) < int(read) < 6 * 60
    assert f"({UNMEASURED}), price " in said[1]
    assert "time unknown" in said[3]
    assert asked() == []
    assert corpus.store.list("tables/caption.short") == []

    done, _, _ = captioning(corpus, monkeypatch, TWO)
    done.do("caption")
    wider = TWO.replace("long: {prompt: long}", "long: {prompt: medium}")
    later, said, _ = captioning(corpus, monkeypatch, wider, PRICE, dry_run=True)
    later.do("caption")
    assert "short: 0 captions, 0 tokens read, 0 written (based on 6 stored captions)" in said[1]
    assert "long: 6 captions" in said[2]
    assert "captions a second (an earlier run)" in said[3]


def test_each_model_has_its_own_rate_and_price():
    settings = CaptionSettings(
        models={"writer": {"model": "org/writer", "revision": "main", "price": PRICES[1]}},
        variants={
            "long": {"prompt": "long", "max_tokens": 200},
            "short": {"prompt": "short_from", "from": "long", "max_tokens": 40, "model": "writer"},
        },
        price=PRICES[0],
    )
    found = costs(settings, {"long": ToDo(1000, 500_000), "short": ToDo(3000, 0)}, {})
    rates = {"": Rate(2.0, "caption.rate"), "writer": Rate(50.0, "an earlier run")}
    lines = list(cost_lines(settings, found, rates))
    assert lines[0].startswith("  long: 1,000 captions by nano, ")
    assert lines[1].startswith("  short: 3,000 captions by org/writer, ")
    assert lines[1].endswith(f"120 k written ({UNMEASURED}), price 1.20")
    assert lines[2].startswith("  caption.model=nano: 1,000 captions, ")
    assert "8 min at 2 captions a second (caption.rate), price 2.00" in lines[2]
    assert "1 min at 50 captions a second (an earlier run), price 1.20" in lines[3]
    assert lines[4].startswith("  total: 4,000 captions, ")
    assert lines[4].endswith(" 9 min, one model after the other, price 3.20")
    unknown = list(cost_lines(settings, found, rates | {"writer": Rate(None, "")}))
    assert "(set caption.models.writer.rate)" in unknown[3]
    assert " min" not in unknown[4]


@pytest.mark.slow
def test_a_run_of_several_models_is_the_basis_of_each_ones_rate(corpus, monkeypatch):
    writer = "caption.models={writer: {model: org/writer, revision: main, engine: transformers}}"
    chain = (
        "caption.variants={short: {prompt: short},"
        " brief: {prompt: short_from, from: short, model: writer}}"
    )
    loaded = []

    def load(settings, pictures=True):
        loaded.append((settings.model, pictures))
        return StandIn(say=lambda key, picture, ask: sensible(key, picture, ask), pace_s=0.001)

    monkeypatch.setattr(module, "load_engine", load)
    made = curated.run(corpus.uri, "caption", BARE, writer, chain)
    made.do("caption")
    assert loaded == [("nano", True), ("org/writer", False)]
    extra = stage_lines(made.run)[-1]["extra"]
    assert {"busy_ms:caption", "busy_ms:caption.models.writer"} <= extra.keys()
    said = []
    later = curated.run(
        corpus.uri,
        "caption",
        BARE,
        writer,
        chain.replace("short_from", "very_short_from").replace(
            "short: {prompt: short}", "short: {prompt: medium}"
        ),
        said=said,
        dry_run=True,
    )
    later.do("caption")
    rates = [line for line in said if " captions a second (an earlier run)" in line]
    assert [line.split(":")[0] for line in rates] == [
        "  caption.model=nano",
        "  caption.models.writer.model=org/writer",
    ]


THREE = (
    "caption.variants={more: {prompt: short, where: caption_cosine > 0.65}, "
    "refined: {prompt: refine, where: caption_cosine BETWEEN 0.30 AND 0.65}, "
    "made: {prompt: medium, where: caption_cosine < 0.30 OR caption_cosine IS NULL}}",
    "caption.preserve=caption_cosine > 0.65",
    MIX,
)
COSINES = {(0, 0): 0.9, (0, 1): 0.5, (1, 0): 0.4, (1, 1): 0.1, (2, 0): None, (2, 1): 0.2}


@pytest.mark.slow
def test_the_mix_that_results_is_shown_beside_the_wanted_one(corpus, monkeypatch):
    shown = (
        "  mix of 6 records: web 1 (17%, wanted 20%), refined 2 (33%, wanted 40%), "
        "synthesized 3 (50%, wanted 40%)"
    )
    planned, said, _ = captioning(corpus, monkeypatch, *THREE, dry_run=True)
    write_match(planned, COSINES)
    planned.do("caption")
    assert shown in said
    lost = {"2/1/made": {"error": "no room"}}
    made, _, asked = captioning(corpus, monkeypatch, *THREE, answers=lost)
    made.do("caption")
    assert asked() == [
        "0/0/more/0",
        "0/1/refined/0",
        "1/0/refined/0",
        "1/1/made/0",
        "2/0/made/0",
        "2/1/made/0",
    ]
    look = curated.run(corpus.uri, "status", "select.rules={}", *THREE, dry_run=True)
    content = status(look.run, look.stages)
    assert content["caption_mix"] == {"web": 1, "refined": 2, "synthesized": 2, "none": 1}
    lines = list(status_lines(content))
    assert any("mix of 5 records: web 1 (20%, wanted 20%)" in line for line in lines)
    assert any("1 without a caption" in line for line in lines)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("caption.mix={web: 0.5, refined: 0.4, synthesized: 0.4}", r"add up to 1\.3"),
        ("caption.mix={web: 0.5, refined: 0.5}", "synthesized"),
        ("caption.price={input_per_million: -1, output_per_million: 1}", "input_per_million"),
        ("caption.rate=0", "rate"),
    ],
)
def test_wrong_settings_are_refused(override, said):
    with pytest.raises(RequestError, match=said):
        load_recipe(curated.NANO, [override])


@pytest.mark.slow
def test_none_of_it_is_in_the_hash(corpus):
    plain = curated.recipe(corpus.uri).pins().tables
    given = (PRICE, MIX, "caption.rate=3", "caption.preserve=width > 3", "caption.rounds=1")
    assert curated.recipe(corpus.uri, *given).pins().tables == plain


def test_a_wrong_preserve_stops_before_any_work(corpus):
    with pytest.raises(RequestError, match=r"caption\.preserve: 'nothing > 3' reads 'nothing'"):
        curated.run(corpus.uri, "caption", "caption.preserve=nothing > 3", steps=("caption",))


@pytest.mark.parametrize(
    ("tokens", "text"),
    [(0, "0"), (999, "999"), (1_234, "1.23 k"), (999_700, "1 M"), (2.5e9, "2.5 G")],
)
def test_counts_of_tokens_have_three_digits(tokens, text):
    assert costs_module._short(tokens) == text
