"""Stages from rows to results, one record or one shard's columns at a time."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import pyarrow as pa

from nucleus_data.stage.base import SettingsT, Stage
from nucleus_data.stage.rows import Result, Row, RowFailure
from nucleus_data.stage.tables import TableSpec


class RowStage(Stage[SettingsT]):
    """A stage from rows to results.

    It has three phases: construct (cheap, picklable), `setup` (load a model), `process`.

    Attributes:
        columns: Input columns, `table:column`, for example `records:source.caption`.
        reads_images: Whether rows carry the image's bytes.
        chooses: Which records it works on: `all` that have an image, or those `kept` (and pending)
            by the selection.
        readable: Whether rules may read what it writes.
        keeps_details: Whether a final failure's detail is kept beside its reason: a column `detail`
            of those parts that have one.
        repeated: Reasons of failures that may pass, which the same attempts would have again: they
            are done again with further ones alone (`corpus.again`).
        cpus: CPUs that its worker has, as the runner says before `setup`. No value depends on it.
    """

    columns: tuple[str, ...] = ()
    reads_images: ClassVar[bool] = True
    chooses: ClassVar[Literal["all", "kept"]] = "all"
    readable: ClassVar[bool] = False
    keeps_details: ClassVar[bool] = False
    retried: ClassVar[bool] = True
    repeated: frozenset[str] = frozenset()
    cpus: int = 1

    def find_inputs(self, corpus: Any, tables: Mapping[str, str]) -> Mapping[str, str]:
        """Looks for tables that it reads and that no stage of the recipe writes.

        Asked before `tables`, each time that a run begins.

        Args:
            corpus: A `nucleus_data.corpus.Corpus`; None where only the configuration is looked at.
            tables: Config hashes of the tables of earlier stages.

        Returns:
            Config hashes by table. A second hash of a table is called `TABLE@HASH`.
        """
        return {}

    @abstractmethod
    def tables(self) -> Sequence[TableSpec]:
        """The tables this stage writes, with all that enters their config hash."""

    def folders(self, tables: Mapping[str, str]) -> Iterator[str]:
        """Its tables' folders, and those of their failures that may pass."""
        for spec in self.tables():
            folder = f"tables/{spec.name}/{tables[spec.name]}"
            yield folder
            yield f"{folder}/_failed"

    def needs_image(self, row: Row) -> bool:
        """Whether a row's image is read, if the stage reads images; `row.image` is not set yet."""
        return True

    def first_use(self) -> str | None:
        """What takes long when this installation is used first, for people; None if nothing does.

        Asked before the work, in the process that waits for it.
        """
        return None

    def setup(self) -> None:
        """Loads what is heavy (models, native libraries). Called once in each worker process."""

    def rows_at_once(self) -> int:
        """How many rows it works on at once; a worker is given twice as many, of several shards."""
        return 1

    def doing(self, what: str) -> None:
        """Says which part of the work begins, so that a death names it.

        The runner of guarded shards listens.
        """

    def spent(self) -> Mapping[str, float]:
        """Seconds by phase since it was asked last, for the run's counts.

        `model` and `model_waits` are said to people, as the share of time that a model was busy.
        Asked from other threads than that of `process`.
        """
        return {}

    def counted(self) -> Mapping[str, int]:
        """Counts of its own since it was asked last, which depend on more than the rows do.

        They go to the run (`extra` of its line in `stages.jsonl`), as `spent` does.
        """
        return {}

    def told(self, counts: Mapping[str, int]) -> Sequence[str]:
        """Lines for people on a run's sums of `counted`, for its output and the report."""
        return ()

    @abstractmethod
    def process(self, rows: Iterator[Row]) -> Iterator[Result | RowFailure]:
        """Turns rows into results, one for each row, in any order.

        Raises StoppedError where no row of any worker should be done: the run ends.
        """


class ColumnStage(RowStage[SettingsT]):
    """A stage from stored columns to columns: `compute` in place of `process`.

    Its work runs as plain tasks. A row's values must not depend on the rows beside it: when
    `compute` raises, halves are tried until the rows that it raises on are alone, and in a guarded
    shard each row is.
    """

    reads_images: ClassVar[bool] = False

    def reads(self, wanted: frozenset[str]) -> Sequence[str]:
        """Those of `columns` that some tables need; the others are not read for them."""
        return self.columns

    @abstractmethod
    def compute(self, columns: pa.Table, wanted: frozenset[str]) -> Mapping[str, pa.Table]:
        """The values of some rows.

        Args:
            columns: The rows' input columns, named as in `reads`; NULL where a table has no row,
                of the type `null` where it has none of them. `TABLE:error` is one, too.
            wanted: The tables that lack these rows.

        Returns:
            For each wanted table its value columns, with the rows in their order; and a column
            `error`, if some rows have none, with the reason code.
        """

    def process(self, rows: Iterator[Row]) -> Iterator[Result | RowFailure]:
        """Each row alone: how the runner does a shard on which workers died."""
        for row in rows:
            columns = {name: pa.array([value]) for name, value in row.columns.items()}
            tables = self.compute(pa.table(columns), row.wanted)
            values: dict[str, Any] = {}
            for name, table in tables.items():
                (found,) = table.to_pylist()
                values[name] = {"error": found["error"]} if found.get("error") else found
            yield Result(row, values)
