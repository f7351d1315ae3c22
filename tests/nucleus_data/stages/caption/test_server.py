"""The caption stage with a server that has no model (`tests.support.captions.server`)."""

import io

import pytest

from nucleus_data.errors import StoppedError
from nucleus_data.stage import Row
from nucleus_data.stages.caption.settings import CaptionSettings
from nucleus_data.stages.caption.stage import Caption
from nucleus_data.world import render, scene
from tests.support.captions.server import FakeServer, error
from tests.support.captions.unchecked import OFF

WANTED = frozenset({"caption.short", "caption.long"})


def rows(count):
    for number in range(count):
        stream = io.BytesIO()
        render(scene(0, number), 60, 40).save(stream, "PNG")
        yield Row(0, number, f"{number:032x}", "a.png", stream.getvalue(), {}, WANTED)


@pytest.fixture
def captioned():
    """Captions rows by a server, and ends the engine."""
    stages = []

    def caption(server, count, **servers):
        servers = {"urls": [server.url], "backoff_s": 0.01, **servers}
        settings = CaptionSettings(engine="server", servers=servers, checks=OFF, probes=0)
        stages.append(Caption(settings))
        stages[-1].setup()
        return {found.row.row: found for found in stages[-1].process(rows(count))}, stages[-1]

    yield caption
    for stage in stages:
        stage._models[0].engine.close()


@pytest.mark.slow
def test_every_row_ends_once_with_what_was_said(captioned):
    def say(asked):
        if asked.times == 3:
            return error(500, "a kernel failed")
        return error(400, "no") if asked.times == 7 and "two" in asked.question else "A ring."

    with FakeServer(say, version="0.32.0") as server:
        found, stage = captioned(server, 12)
    assert sorted(found) == list(range(12))
    outcomes = [one for row in found.values() for one in row.values.values()]
    failed = [one for one in outcomes if one.get("error")]
    assert [(one["error"], one["detail"]) for one in failed] == [("caption_refused", "refused: no")]
    told = next(one for one in outcomes if not one.get("error"))
    assert (told["caption"], told["engine"]) == ("A ring.", "server")
    assert told["engine_version"] == "vllm 0.32.0"
    assert (told["tokens"], told["prompt_tokens"], told["model"]) == (5, 20, "nano")
    counts = stage.counted()
    assert (counts["pictures"], counts["cached_tokens"]) == (12, 23 * 16)
    # One of each variant; and, on a busy machine more often, whether the server is well again.
    assert 2 <= counts["asked_again"] < 12


def test_the_run_ends_when_no_server_is_left(captioned):
    with FakeServer() as server:
        server.say = lambda asked: server.stop()
        with pytest.raises(StoppedError, match="run the same command again"):
            captioned(server, 3, gives_up_s=0.15)
