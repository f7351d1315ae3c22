"""How a stage is written: one class of one of two shapes, in `stages/<name>/stage.py`.

A **row stage** turns rows into results. It says which tables it writes and knows nothing of Ray,
object stores, resuming or progress: the runner (`nucleus_data.runner`) hands it rows that still
lack a result and commits what comes back.

    class Brightness(RowStage[BrightnessSettings]):
        name = "brightness"
        help = "Measure how bright each image is."
        Settings = BrightnessSettings

        def tables(self):
            return [TableSpec("brightness", pa.schema([("luma", pa.float32())]), version=1)]

        def process(self, rows):
            for row in rows:
                yield Result(row, {"brightness": {"luma": mean_luma(row.image)}})

A row stage that gathers rows (a model with batches) may receive `None` from the iterator: "no row
is waiting now; give back what you hold". Only a stage that holds rows back ever sees it.

A **column stage** is a row stage that reads stored columns and no picture: it computes a shard's
rows in one piece, as Arrow, since Python is too slow for millions of rows one by one.

A **corpus stage** does one thing about the whole corpus: `pin` says what its result is identified
by, `count` says what there would be to do, `do` does it.

The list of stages is `nucleus_data.line.recipe.STAGES`; the configuration's sections, commands,
resources and help follow from it.

| module | what is in it |
|---|---|
| `tables` | `TableSpec`: a table that a stage writes |
| `rows` | `Row`, `Result`, `RowFailure`, `TableFailure`: what goes in and out |
| `base`, `row_stage`, `corpus_stage` | the classes that a stage is derived from |
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
