"""Base classes of stages, and the types of their inputs and outputs.

A stage is one class in `stages/<name>/stage.py`, derived from `RowStage` or `CorpusStage`.

A **row stage** maps rows to results. It declares the tables that it writes, and knows nothing about
Ray, object stores, resuming or progress: the runner (`nucleus_data.runner`) passes it the rows that
have no result yet, and commits the results.

    class Brightness(RowStage[BrightnessSettings]):
        name = "brightness"
        help = "Measure how bright each image is."
        Settings = BrightnessSettings

        def tables(self):
            return [TableSpec("brightness", pa.schema([("luma", pa.float32())]), version=1)]

        def process(self, rows):
            for row in rows:
                yield Result(row, {"brightness": {"luma": mean_luma(row.image)}})

A row stage that collects rows into batches (for a model) may receive `None` from the iterator. It
means that no row is waiting, so the stage should yield the results of the rows that it holds. A
stage that holds no rows back never receives it.

A **column stage** is a row stage that reads stored columns and no image. It computes the rows of a
shard together, as Arrow columns, because Python is too slow for millions of rows one by one.

A **corpus stage** works on the corpus as a whole: `pin` returns the config hash of its result,
`count` reports how much work there is, and `do` does it.

The list of stages is `nucleus_data.line.recipe.STAGES`. The configuration's sections, the commands,
the resources and the help are derived from it.

| module | contents |
|---|---|
| `tables` | `TableSpec`: a table that a stage writes |
| `rows` | `Row`, `Result`, `RowFailure`, `TableFailure`: inputs and outputs of row stages |
| `base`, `row_stage`, `corpus_stage` | base classes of stages |
"""

from nucleus_data.stage.base import Stage
from nucleus_data.stage.corpus_stage import CorpusStage
from nucleus_data.stage.row_stage import ColumnStage, RowStage
from nucleus_data.stage.rows import Result, Row, RowFailure, TableFailure
from nucleus_data.stage.tables import Condition, RowChoice, TableSpec

__all__ = [
    "ColumnStage",
    "Condition",
    "CorpusStage",
    "Result",
    "Row",
    "RowChoice",
    "RowFailure",
    "RowStage",
    "Stage",
    "TableFailure",
    "TableSpec",
]
