"""What a comparison took is added up over its sessions, and changes nothing else."""

import json

import pytest

from nucleus_model.training.verdict.timing import TIMINGS, note_forecast, timed


def test_sessions_are_added_and_the_forecast_stays(tmp_path) -> None:
    note_forecast(tmp_path, {"processor_seconds": 9.0})
    with timed(tmp_path, 2):
        sum(range(100_000))
    with timed(tmp_path, 0):
        pass  # nothing was left to do
    with timed(tmp_path, 3):
        pass
    found = json.loads((tmp_path / TIMINGS).read_text())
    assert found["forecast"] == {"processor_seconds": 9.0}
    assert [session["runs"] for session in found["sessions"]] == [2, 3]
    assert found["sessions"][0]["processor_seconds"] >= 0


def test_what_ended_by_an_error_is_not_counted_and_a_torn_file_stops_nothing(tmp_path) -> None:
    (tmp_path / TIMINGS).write_text('{"forecast": nul')
    with pytest.raises(KeyError), timed(tmp_path, 1):
        raise KeyError
    with timed(tmp_path, 1):
        pass
    assert len(json.loads((tmp_path / TIMINGS).read_text())["sessions"]) == 1
