import pytest

from nucleus_data.corpus.tables import Table
from nucleus_data.errors import DiskFullError
from nucleus_data.hashing import config_hash
from nucleus_data.runner.actor import SetupFailedError
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.work import Item, Resources, Summary
from nucleus_data.world.corpora import small_corpus
from tests.support.stages import Length, Nothing

HASH = config_hash("length")


class Numbers:
    """A task that fails on the numbers that it is given an error for."""

    def __init__(self, errors):
        self.errors = errors
        self.asked = []

    def run(self, number):
        self.asked.append(number)
        if number in self.errors:
            raise self.errors[number]
        return Summary(rows=1, done=1)


def run(work, items=5):
    return InlineLoop("numbers", work, Resources()).run([Item(n) for n in range(items)], items)


def job(corpus, **settings):
    return StageJob(corpus.uri, {}, Length(Nothing(**settings)), {"length": HASH, "records": "x"})


def test_a_failure_costs_its_item_and_keeps_its_traceback():
    work = Numbers({1: ZeroDivisionError("first line\nsecond"), 3: KeyError("x")})
    report = run(work)
    assert work.asked == [0, 1, 2, 3, 4]
    assert (report.shards, report.summary.done) == (3, 3)
    assert [(f.number, f.error) for f in report.failed] == [
        (1, "ZeroDivisionError: first line"),
        (3, "KeyError: 'x'"),
    ]
    assert "in run\n    raise self.errors[number]" in report.failed[0].traceback


def test_a_full_disk_stops_what_comes_after():
    work = Numbers({1: DiskFullError("no space is left")})
    report = run(work)
    assert work.asked == [0, 1]
    assert [f.number for f in report.failed] == [1]


def test_a_setup_that_fails_ends_the_run_and_is_told(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=2)
    with pytest.raises(SetupFailedError, match="the model is not there"):
        run(job(corpus, poison="no_setup"), 2)
    assert Table(corpus.store, "length", HASH).part_names() == []


def test_rows_are_done_once_and_no_stage_is_set_up_for_none(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=2)
    first = run(job(corpus, hold=3), 2)
    assert (first.summary.done, first.summary.already, first.shards) == (10, 0, 2)
    part = Table(corpus.store, "length", HASH).read(1)
    assert part["bytes"].to_pylist() == [80] * 5
    again = run(job(corpus, poison="no_setup"), 2)
    assert (again.summary.done, again.summary.already) == (0, 10)


def test_the_order_of_the_items_can_be_another():
    class Reversed(InlineLoop):
        def arranged(self, items):
            return reversed(list(items))

    work = Numbers({})
    Reversed("numbers", work, Resources()).run([Item(n) for n in range(3)])
    assert work.asked == [2, 1, 0]
