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
