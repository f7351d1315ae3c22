"""What is asked again when a setting changes: counted at an engine, by runs in this process."""

import pytest

from nucleus_data.corpus.tables import Table
from nucleus_data.errors import RequestError
from nucleus_data.stages.caption import stage as module
from tests.support import curated
from tests.support.captions.standin import StandIn, answering
from tests.support.captions.unchecked import OVERRIDE
from tests.support.stepped import BARE, curate, three_shards

RECORDS = 6
FOUR = (
    "caption.variants={very_short: {prompt: very_short}, short: {prompt: short},"
    " medium: {prompt: medium}, long: {prompt: long}}"
)
CHAIN = "caption.variants={brief: {prompt: short_from, from: long}, long: {prompt: long}}"


@pytest.fixture
def corpus(tmp_path):
    made = three_shards(tmp_path / "c")
    curate(made)
    return made


@pytest.fixture
def caption(corpus, monkeypatch):
    """Captions with some settings; returns the run and what was asked, by variant."""

    def caption(*overrides, answers=None, command="caption"):
        engine = StandIn(say=answering(answers or {}))
        monkeypatch.setattr(module, "load_engine", lambda settings: engine)
        made = curated.run(corpus.uri, command, BARE, OVERRIDE, *overrides)
        made.use_selection()
        made.retry("caption") if command == "retry" else made.do("caption")
        found = {}
        for key, shape, ask in engine.submitted:
            found.setdefault(key.split("/")[2], []).append((shape, ask))
        return made, found

    return caption


def rows(corpus, made, variant):
    name = f"caption.{variant}"
    table = Table(corpus.store, name, made.tables[name])
    return [row for shard in range(3) for row in table.read(shard).to_pylist()]


@pytest.mark.slow
def test_one_of_four_prompts_is_a_quarter_of_the_work(corpus, caption):
    first, asked = caption(FOUR)
    assert {name: len(found) for name, found in asked.items()} == dict.fromkeys(
        ("very_short", "short", "medium", "long"), RECORDS
    )
    _, asked = caption(FOUR, "caption.max_model_len=8192", "caption.seed=5", "caption.attempts=2")
    assert asked == {}, "none of these changes a greedy caption"
    other, asked = caption(FOUR, "caption.variants.medium.text=Say what is there.")
    assert {name: len(found) for name, found in asked.items()} == {"medium": RECORDS}
    assert {row["prompt"] for row in rows(corpus, other, "medium")} == {"medium"}
    assert {row["question"] for row in rows(corpus, other, "medium")} == {"Say what is there."}
    assert rows(corpus, first, "short") == rows(corpus, other, "short")
    _, asked = caption(FOUR)
    assert asked == {}, "what was made before is still there"


@pytest.mark.slow
def test_a_chain_asks_about_what_is_made_or_stored(corpus, caption):
    _, asked = caption("caption.variants={long: {prompt: long}}")
    assert list(asked) == ["long"]
    made, asked = caption(CHAIN)
    assert list(asked) == ["brief"], "long is stored"
    long = {row["id"]: row["caption"] for row in rows(corpus, made, "long")}
    for row in rows(corpus, made, "brief"):
        assert f"\n{long[row['id']]}\n" in row["question"]
        assert (row["parent"], row["image_sha256"]) == ("long", None)
    assert {shape for shape, _ in asked["brief"]} == {None}
    _, asked = caption(CHAIN, "caption.variants.long.text=Say all.")
    assert {name: len(found) for name, found in asked.items()} == {"long": 6, "brief": 6}


@pytest.mark.slow
def test_a_child_fails_with_its_parent_and_is_made_when_that_is(corpus, caption):
    refused = {"error": "refused: no room"}
    made, asked = caption(CHAIN, answers={"0/0/long": refused})
    assert {name: len(found) for name, found in asked.items()} == {"long": 6, "brief": 5}
    assert len(rows(corpus, made, "brief")) == 5, "it may pass, and waits"
    made, asked = caption(CHAIN, command="retry")
    assert {name: len(found) for name, found in asked.items()} == {"long": 1, "brief": 1}
    assert [row["error"] for row in rows(corpus, made, "brief")] == [None] * 6


@pytest.mark.slow
def test_a_column_that_no_record_has_is_refused_at_the_start(caption):
    with pytest.raises(RequestError, match=r"{source\.titel}, but no record .* available: caption"):
        caption('caption.variants.rich={text: "{source.titel}\\nSay more."}')
