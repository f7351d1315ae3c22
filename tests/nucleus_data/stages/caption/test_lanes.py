"""Lanes beside each other: an engine whose work is done elsewhere is not waited for."""

import pytest

from nucleus_data.engines.load import load_engine
from nucleus_data.stages.caption import stage as module
from nucleus_data.stages.caption.asking import Asking
from nucleus_data.stages.caption.lanes import SHORT_S, STEP_S, Lane
from nucleus_data.stages.caption.settings import CaptionSettings
from nucleus_data.stages.caption.stage import Caption
from nucleus_data.stages.caption.trial import Recorder
from tests.nucleus_data.stages.caption.test_flow import row
from tests.support.captions.server import FakeServer
from tests.support.captions.standin import StandIn
from tests.support.captions.unchecked import OFF


class Elsewhere(StandIn):
    """As an engine of servers."""

    def __init__(self):
        super().__init__()
        self.patience_s = 1.0


def lane(engine, pending):
    engine.pending = lambda: pending
    return lane_of(engine)


def lane_of(engine):
    return Lane(engine, Asking(CaptionSettings(), engine.count_tokens), 1, ["short"])


@pytest.mark.parametrize(
    ("others", "patience"),
    [
        ([], STEP_S),
        ([(StandIn, 0)], STEP_S),
        ([(StandIn, 3)], 0.0),
        ([(Elsewhere, 3)], SHORT_S),
        ([(Elsewhere, 3), (StandIn, 1)], 0.0),
    ],
)
def test_how_long_a_server_s_answer_is_waited_for(others, patience):
    for wrap in (lambda engine: engine, Recorder):  # `caption --try` records what is asked
        engine = Elsewhere()
        engine.pending = lambda: 1
        lane_of(wrap(engine)).step([lane(kind(), pending) for kind, pending in others])
        assert engine.patience_s == patience


@pytest.mark.slow
def test_a_server_goes_on_with_what_an_engine_here_said(monkeypatch):
    variants = {
        "long": {"prompt": "long"},
        "brief": {"from": "long", "text": "Shorten: {made}", "model": "writer"},
    }

    def load(settings, pictures=True):
        if settings.engine == "server":
            return load_engine(settings, pictures=pictures)
        return StandIn(settings, pace_s=0.001)

    monkeypatch.setattr(module, "load_engine", load)
    with FakeServer(lambda asked: f"<{asked.question[:60]}>", version="0.32.0") as server:
        writer = {"model": "nano", "engine": "server", "servers": {"urls": [server.url]}}
        settings = {"variants": variants, "models": {"writer": writer}, "checks": OFF}
        made = Caption(CaptionSettings(**settings, max_in_flight=4, engine="transformers"))
        made.setup()
        found = list(made.process(iter([row(number, variants) for number in range(12)])))
        assert not any(isinstance(body["messages"][0]["content"], list) for body in server.bodies)
        made._models[1].engine.close()
    assert len(found) == 12
    for one in found:
        brief, long = one.values["caption.brief"], one.values["caption.long"]
        assert (brief["engine"], long["engine"]) == ("server", "stand-in")
        assert brief["caption"] == f"<{brief['question'][:60]}>"
        assert brief["question"] == f"Shorten: {long['caption']}"
