import time

from nucleus_data.runner.attempts import Attempts
from nucleus_data.runner.work import Summary


class Silent:
    def run(self, number):
        return Summary(rows=1, done=1)


class Telling(Silent):
    def progress(self, summary, seconds):
        assert seconds > 0
        return f"{summary.done} pictures of {summary.bytes} bytes"

    def told(self, summary, seconds):
        return []


def test_the_bar_says_what_the_task_tells():
    telling, silent = Attempts("ingest", Telling()), Attempts("other", Silent())
    for attempts in (telling, silent):
        attempts.done(Summary(rows=2, done=2, bytes=5))
        attempts.done(Summary(rows=1, done=1, bytes=2))
    assert telling.bar.postfix == "3 pictures of 7 bytes"
    assert silent.bar.postfix == "3 done"


class Bar:
    """A progress bar that somebody sees."""

    disable = False

    def __init__(self):
        self.said = []

    def set_postfix_str(self, said):
        self.said.append(said)


def test_the_bar_says_anew_how_a_task_fares_but_not_all_the_time(monkeypatch):
    monkeypatch.setattr("nucleus_data.runner.attempts.TELL_S", 0.2)
    telling, silent = Attempts("ingest", Telling()), Attempts("other", Silent())
    for attempts in (telling, silent):
        attempts.bar = Bar()
        attempts.report.summary.add(Summary(rows=1, done=1, bytes=2))
        attempts._told = time.perf_counter()
        attempts.waiting()
        assert attempts.bar.said == []
        time.sleep(0.21)
        attempts.waiting()
        attempts.waiting()
    assert telling.bar.said == ["1 pictures of 2 bytes"]
    assert silent.bar.said == []
