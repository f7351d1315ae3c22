"""Variants that fail, up to the training set: kept with a reason, and asked again alone."""

import pytest

from nucleus_data.corpus.tables import Table
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.caption import stage as module
from nucleus_data.views.explain import explain
from nucleus_data.views.status import status
from tests.support import curated
from tests.support.captions.standin import StandIn, answering, place
from tests.support.captions.unchecked import OVERRIDE
from tests.support.stepped import BARE, curate, three_shards

SET = ("shard.captions=[short,long]", BARE, OVERRIDE)
REFUSED = {"error": "refused: no room"}


@pytest.fixture
def corpus(tmp_path):
    made = three_shards(tmp_path / "c")
    curate(made)
    return made


def run(corpus, command, answers, monkeypatch):
    """A run whose engine gives these answers, and the keys that it is asked for."""
    engine = StandIn(say=answering(answers))
    monkeypatch.setattr(module, "load_engine", lambda settings: engine)
    said = []
    made = curated.run(corpus.uri, command, *SET, said=said)
    made.use_selection()
    return made, said, lambda: sorted(place(key) for key, *_ in engine.submitted)


def samples(made, corpus):
    """Whose captions each sample of the set has that is made now, by image shard and row."""
    made.do("shard")
    folder = SetFolder(corpus.store, made.training_set)
    assert folder.published
    edition = folder.new_edition(made.pins.edition)
    found = {}
    for tar in folder.manifest():
        sources = edition.captions(tar.path).column("caption_sources").to_pylist()
        for row, of in zip(folder.index(tar.path).to_pylist(), sources, strict=True):
            found[f"{row['shard']}/{row['row']}"] = of
    return found


def table(made, corpus, variant):
    """The table of a variant."""
    return Table(corpus.store, f"caption.{variant}", made.tables[f"caption.{variant}"])


@pytest.mark.slow
def test_only_what_may_pass_is_asked_again_and_nothing_blocks_the_set(corpus, monkeypatch):
    answers = {"0/0/long": REFUSED, "1/1/short": {"text": ""}, "2/0/long": REFUSED}
    made, said, asked = run(corpus, "caption", answers, monkeypatch)
    made.do("caption")
    assert len(asked()) == 12
    assert "6 rows, 6 done, 3 failed (caption_refused 2, caption_empty 1)" in said[0]
    assert said[1:3] == [
        "  caption.long: 4 done, 2 failed (caption_refused 2); 2 may be temporary",
        "  caption.short: 5 done, 1 failed (caption_empty 1)",
    ]
    for line in made.lines[-1]["tables"].values():
        assert line["rows"] == line["already"] + line["done"] + line["failed"] == 6
    tables = status(made.run, made.stages)["tables"]
    assert [tables[f"caption.{v}"]["failed_retryable"] for v in ("short", "long")] == [0, 2]

    short = table(made, corpus, "short").read(1).to_pylist()[1]
    assert (short["error"], short["detail"]) == (
        "caption_empty",
        "the model ended after 5 tokens with ''",
    )
    record = corpus.records.read(0).to_pylist()[0]
    story = explain(corpus, record["id"])
    long = story[f"caption.long/{made.tables['caption.long']}"]
    assert (long["state"], long["reason"], long["detail"]) == (
        "failed, retryable",
        "caption_refused",
        "refused: no room",
    )
    assert story[f"caption.short/{made.tables['caption.short']}"]["caption"]

    both = ["synthesized:short", "synthesized:long"]
    expected = {f"{shard}/{row}": both for shard in range(3) for row in range(2)}
    first = samples(made, corpus)
    assert first == expected | {"0/0": both[:1], "2/0": both[:1], "1/1": both[1:]}

    folders = [table(made, corpus, variant) for variant in ("short", "long")]
    names = [f"{one.folder}/{name}" for one in folders for name in one.part_names()]
    before = {name: corpus.store.read(name) for name in names}
    idle, _, asked = run(corpus, "caption", {}, monkeypatch)
    idle.do("caption")
    assert asked() == [], "what failed waits for a retry"
    again, said, asked = run(corpus, "retry", {"2/0/long": REFUSED}, monkeypatch)
    again.retry("caption")
    assert asked() == ["0/0/long", "2/0/long"]
    assert {name: corpus.store.read(name) for name in before} == before
    assert samples(again, corpus) == first | {"0/0": both}
    last, _, asked = run(corpus, "retry", {}, monkeypatch)
    last.retry("caption")
    assert asked() == ["2/0/long"]
