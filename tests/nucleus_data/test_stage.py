import pyarrow as pa
import pytest
from pydantic import BaseModel

from nucleus_data.stage import CorpusStage, RowStage, TableSpec


class NoSettings(BaseModel):
    """A stage of a test has none."""


class Rows(RowStage[NoSettings]):
    name, help, Settings = "rows", "Rows.", NoSettings

    def tables(self):
        return [TableSpec(name, pa.schema([]), version=1) for name in ("rows.a", "rows.b")]

    def process(self, rows):
        yield from ()


class Whole(CorpusStage[NoSettings]):
    name, help, Settings = "whole", "Whole.", NoSettings

    def pin(self, run):
        return {}

    def count(self, run):
        return

    def do(self, run):
        return


def test_a_row_stage_writes_into_its_tables_and_what_failed_of_them():
    assert list(Rows(NoSettings()).folders({"rows.a": "1", "rows.b": "2", "records": "3"})) == [
        "tables/rows.a/1",
        "tables/rows.a/1/_failed",
        "tables/rows.b/2",
        "tables/rows.b/2/_failed",
    ]


def test_what_a_stage_says_of_itself_by_default():
    rows, whole = Rows(NoSettings()), Whole(NoSettings())
    assert (rows.retried, whole.retried) == (True, False)
    assert (rows.chooses, rows.readable, rows.reads_images) == ("all", False, True)
    assert rows.missing() is whole.missing() is None
    assert list(whole.folders({})) == []
    with pytest.raises(NotImplementedError, match="whole has nothing to retry"):
        whole.retry(None)


def test_a_stage_that_lacks_a_method_can_t_be_made():
    class Half(CorpusStage[NoSettings]):
        name, help, Settings = "half", "Half.", NoSettings

    with pytest.raises(TypeError, match="abstract"):
        Half(NoSettings())
