import pyarrow as pa
import pytest

from nucleus_data.corpus.tables import Table
from nucleus_data.errors import DiskFullError
from nucleus_data.hashing import config_hash
from nucleus_data.runner.actor import SetupFailedError
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.words import describe
from nucleus_data.runner.work import Item, Resources, Summary
from nucleus_data.stage import Result, TableFailure, TableSpec
from nucleus_data.world.corpora import small_corpus
from tests.support.on_ray import ALL, values
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


@pytest.mark.parametrize("hold", [0, 3])
def test_every_row_once_in_order(tmp_path, hold):
    corpus = small_corpus(tmp_path / "c")
    report = run(job(corpus, hold=hold), 3)
    assert (report.summary.done, report.shards, report.failed) == (15, 3, [])
    assert values(corpus, 3) == ALL
    again = run(job(corpus), 3)
    assert (again.summary.already, again.summary.done) == (15, 0)


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


@pytest.mark.parametrize("hold", [0, 3])
def test_a_row_on_which_the_stage_raises_fails_for_now(tmp_path, hold):
    corpus = small_corpus(tmp_path / "c", shards=1)
    report = run(job(corpus, poison="raise", hold=hold), 1)
    assert (report.failed, report.summary.done) == ([], 4)
    table = Table(corpus.store, "length", HASH)
    assert table.read(0)["row"].to_pylist() == [0, 1, 2, 4]
    assert [(f["row"], f["reason"], f["detail"]) for f in table.failed.read(0).to_pylist()] == [
        (3, "stage_raised", "ZeroDivisionError: in the stage")
    ]


def test_what_cannot_be_read_is_no_fault_of_the_stage(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=1)
    (tmp_path / "c/images/000000.tar").unlink()
    report = run(job(corpus), 1)
    assert [f.error.split(":")[0] for f in report.failed] == ["CorpusError"]
    assert Table(corpus.store, "length", HASH).failed.read(0) is None


class Halves(Length):
    """Two tables: `half` fails on row 2 for ever, on row 3 for now."""

    keeps_details = True

    def tables(self):
        half = TableSpec("half", pa.schema([("bytes", pa.int32())]), version=1)
        return [*super().tables(), half]

    def process(self, rows):
        for row in rows:
            values = {"bytes": len(row.image)}
            half = {
                2: TableFailure(error="odd", detail="a lone \ud800", values={"bytes": 1}),
                3: TableFailure(error="busy", detail="later", retryable=True, values={"bytes": 2}),
            }.get(row.row if not self.settings.poison else -1, values)
            yield Result(row, {"length": values, "half": half})


def test_one_table_of_a_row_fails_alone_and_is_alone_done_again(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=1)
    tables = {"length": HASH, "half": HASH, "records": "x"}

    def done(retry=False, **settings):
        work = StageJob(corpus.uri, {}, Halves(Nothing(**settings)), tables, retry=retry)
        report = run(work, 1)
        for table in report.summary.tables.values():
            assert table.rows == table.already + table.done + sum(table.failed.values()) == 5
        return report

    first = done()
    assert (first.summary.done, first.summary.failed, first.summary.retryable) == (
        5,
        {"odd": 1, "busy": 1},
        1,
    )
    whole, half = Table(corpus.store, "length", HASH), Table(corpus.store, "half", HASH)
    before = corpus.store.read(f"{whole.folder}/000000-0.parquet")
    assert whole.read(0)["bytes"].to_pylist() == [80] * 5
    assert "detail" not in whole.read(0).column_names, "a part without failures is as it was"
    assert [(r["row"], r["bytes"], r["error"], r["detail"]) for r in half.read(0).to_pylist()] == [
        (0, 80, None, None),
        (1, 80, None, None),
        (2, 1, "odd", "a lone ?"),
        (4, 80, None, None),
    ]
    key = {"shard": 0, "row": 3, "id": whole.read(0)["id"].to_pylist()[3]}
    assert half.failed.read(0).to_pylist() == [
        {**key, "reason": "busy", "detail": "later", "bytes": 2}
    ]
    said = describe(first).splitlines()
    assert "5 rows, 5 done, 2 failed (odd 1, busy 1)" in said[0]
    assert said[1:] == ["  half: 3 done, 2 failed (odd 1, busy 1); 1 may be temporary"]

    assert done().summary.already == 5, "what failed for now waits for a retry"
    again = done(retry=True, poison="mended")
    assert (again.summary.already, again.summary.done) == (4, 1)
    assert again.summary.tables["length"].done == 0
    assert half.read(0)["row"].to_pylist() == [0, 1, 2, 3, 4]
    assert [corpus.store.read(f"{whole.folder}/{name}") for name in whole.part_names()] == [before]


class Odd(Length):
    """A table of texts and numbers; some rows have values that no table can hold."""

    def tables(self):
        columns = [("text", pa.string()), ("number", pa.int8())]
        return [TableSpec("length", pa.schema(columns), version=1)]

    def process(self, rows):
        odd = {1: {"text": "a \ud800"}, 2: {"number": 1000}, 3: {"number": "x"}}
        for row in rows:
            yield Result(row, {"length": {"text": "b", "number": 1, **odd.get(row.row, {})}})


def test_a_value_that_cannot_be_stored_costs_its_row(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=1)
    work = StageJob(corpus.uri, {}, Odd(Nothing()), {"length": HASH, "records": "x"})
    report = run(work, 1)
    assert (report.failed, report.summary.done) == ([], 2)
    assert report.summary.failed == {"stage_raised": 3}
    table = Table(corpus.store, "length", HASH)
    assert table.read(0)["row"].to_pylist() == [0, 4]
    details = [failed["detail"] for failed in table.failed.read(0).to_pylist()]
    assert [detail.split(":")[0] for detail in details] == [
        "UnicodeEncodeError",
        "ArrowInvalid",
        "ArrowInvalid",
    ]


@pytest.mark.parametrize("hold", [0, 3])
def test_a_stage_that_can_t_go_on_ends_the_run(tmp_path, hold):
    corpus = small_corpus(tmp_path / "c", shards=2)
    with pytest.raises(SetupFailedError, match="all servers are down"):
        run(job(corpus, poison="stop", hold=hold), 2)
    assert Table(corpus.store, "length", HASH).failed.read(0) is None
    assert run(job(corpus), 2).summary.done == 10
