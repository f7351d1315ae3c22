"""Truth tests in the stage and its runs: what stops one, what is stored, what is said."""

import functools
import hashlib
import itertools

import pytest

from nucleus_data.errors import StoppedError
from nucleus_data.pages.sections import work_section
from nucleus_data.stages.caption import stage as module
from nucleus_data.stages.caption.settings import CaptionSettings
from nucleus_data.stages.caption.stage import Caption
from nucleus_data.views.status import status
from nucleus_data.views.status_lines import status_lines
from nucleus_data.world.scenes import scene
from nucleus_data.world.words import captions
from scripts.truth.engines import Broken
from tests.nucleus_data.stages.caption.test_stage import encoded, row
from tests.support import curated
from tests.support.captions.standin import StandIn
from tests.support.stepped import BARE, curate, stage_lines, three_shards

VARIANTS = {"short": {"prompt": "short"}, "long": {"prompt": "long"}}
small = functools.cache(functools.partial(encoded, size=(64, 48)))


def of_pixels(key, picture, ask):
    """A world's caption, another one for each picture; grey has its own."""
    if picture is None or (picture == 128).all():
        return "Nothing is to be seen."
    number = int.from_bytes(hashlib.sha1(picture.tobytes()).digest()[:4], "big")
    return captions(scene(1, number))["long" if "paragraph" in ask.question else "short"]


def made(monkeypatch, engine, **settings):
    monkeypatch.setattr(module, "load_engine", lambda settings: engine)
    found = Caption(CaptionSettings(variants=VARIANTS, **settings))
    found.setup()
    return found


def probes_of(engine):
    return [key for key, *_ in engine.submitted if key.startswith("probe/")]


def test_a_run_of_the_stage_has_its_captions_and_says_what_was_tested(monkeypatch):
    engine = StandIn(say=of_pixels)
    work = made(monkeypatch, engine)
    outcomes = list(work.process(iter([row(i, image=small(i)) for i in range(40)])))
    assert sorted(o.row.row for o in outcomes) == list(range(40))
    for outcome in outcomes:
        assert set(outcome.values) == {"caption.short", "caption.long"}
        assert all("caption" in values for values in outcome.values.values())
    counts = work.counted()
    assert (counts["truth_probes"], counts["truth_same"]) == (10, 10)
    assert 10 < len(probes_of(engine)) <= 24
    (line,) = work.told(counts)
    assert line.startswith(
        "truth tests: 10 pictures captioned again, alone: 10 with the same result"
    )
    assert work.counted().get("truth_probes", 0) == 0
    assert work.told({}) == []


@pytest.mark.parametrize("fault", ["swap", "blind"])
@pytest.mark.slow
def test_an_engine_that_is_wrong_stops_the_stage_before_anything_is_stored(monkeypatch, fault):
    paced = StandIn(CaptionSettings(max_in_flight=8), pace_s=0.001, say=of_pixels)
    work = made(monkeypatch, Broken(paced, fault), max_in_flight=8)
    given = []
    with pytest.raises(StoppedError, match="truth tests"):
        given.extend(work.process(iter([row(i, image=small(i)) for i in range(40)])))
    assert given == []


def test_a_full_window_is_tested_while_rows_go_on(monkeypatch):
    engine = Broken(StandIn(say=of_pixels), "blind")
    work = made(monkeypatch, engine, probes=4)
    taken = []

    def feed():
        for number in range(200):
            taken.append(number)
            yield row(number, image=small(number % 60))

    with pytest.raises(StoppedError):
        list(work.process(feed()))
    assert len(taken) < 60


def test_rows_that_wait_for_others_are_tested_and_given_back(monkeypatch):
    """As an actor hands them in: None while it has no other row."""
    engine = StandIn(say=of_pixels)
    work = made(monkeypatch, engine)
    rows = [row(i, image=small(i)) for i in range(12)]
    feed = itertools.chain(rows, itertools.repeat(None))
    given = list(itertools.islice(work.process(feed), 12))
    assert len({o.row.row for o in given}) == 12
    assert work.counted()["truth_probes"] == 3


@pytest.mark.slow
def test_the_run_keeps_and_says_the_outcome(tmp_path, monkeypatch):
    corpus = three_shards(tmp_path / "c")
    curate(corpus)
    monkeypatch.setattr(module, "load_engine", lambda settings: StandIn(say=of_pixels))
    monkeypatch.setattr("nucleus_data.stages.caption.truth.probes.FEWEST", 2)
    monkeypatch.setattr("nucleus_data.stages.caption.truth.probes.PICTURES_A_PROBE", 1)
    said = []
    run = curated.run(corpus.uri, "caption", BARE, said=said)
    run.use_selection()
    run.do("caption")
    (line,) = [line for line in stage_lines(run) if line["stage"] == "caption"]
    assert line["extra"]["truth_probes"] > 1
    assert any("truth tests: " in text for text in said)
    assert line["told"][0].startswith("truth tests: ")
    (shown,) = [text for text in status_lines(status(run.run, run.stages)) if "truth tests" in text]
    assert shown.strip() == line["told"][0]
    assert work_section(corpus, run.name)["told"] == line["told"]
