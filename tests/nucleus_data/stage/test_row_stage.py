import pyarrow as pa
from pydantic import BaseModel

from nucleus_data.stage import RowStage, TableSpec


class NoSettings(BaseModel):
    """A stage of a test has none."""


class Rows(RowStage[NoSettings]):
    name, help, Settings = "rows", "Rows.", NoSettings

    def tables(self):
        return [TableSpec(name, pa.schema([]), version=1) for name in ("rows.a", "rows.b")]

    def process(self, rows):
        yield from ()


def test_a_row_stage_writes_into_its_tables_and_what_failed_of_them():
    assert list(Rows(NoSettings()).folders({"rows.a": "1", "rows.b": "2", "records": "3"})) == [
        "tables/rows.a/1",
        "tables/rows.a/1/_failed",
        "tables/rows.b/2",
        "tables/rows.b/2/_failed",
    ]


def test_what_a_row_stage_says_of_itself_by_default():
    stage = Rows(NoSettings())
    assert stage.retried
    assert (stage.chooses, stage.readable, stage.reads_images) == ("all", False, True)
    assert stage.missing() is None
