"""The base classes of stages that map rows to results: record by record, or in columns."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import pyarrow as pa

from nucleus_data.stage.base import SettingsT, Stage
from nucleus_data.stage.rows import Result, Row, RowFailure
from nucleus_data.stage.tables import TableSpec


class RowStage(Stage[SettingsT]):
    """A stage that maps rows to results.

    It has three phases: construction (cheap; the object is pickled), `setup` (loads models), and
    `process`.

    Attributes:
        columns: Input columns, `table:column`, for example `records:source.caption`.
        reads_images: Whether rows carry the image's bytes.
        chooses: Which records it works on: `all` that have an image, or those `kept` (and pending)
            by the selection.
        readable: Whether rules may read the tables that it writes.
        keeps_details: Whether a final failure's detail is stored beside its reason, in a column
            `detail` of the parts that have such a failure.
        repeated: Reasons of retryable failures that would recur with the same number of attempts;
            such rows are retried only if more attempts are allowed (`corpus.renewed`).
        cpus: Number of CPUs of its worker; the runner sets it before `setup`. Results must not
            depend on it.
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
        """Finds the tables that it reads and that no stage of the recipe writes.

        Called before `tables`, at the start of each run.

        Args:
            corpus: A `nucleus_data.corpus.Corpus`; None if only the configuration is examined.
            tables: Table name -> config hash, of the tables of earlier stages.

        Returns:
            Table name -> config hash. A second version of a table is named `TABLE@HASH`.
        """
        return {}

    @abstractmethod
    def tables(self) -> Sequence[TableSpec]:
        """Returns the tables that this stage writes, with all that enters their config hashes."""

    def folders(self, tables: Mapping[str, str]) -> Iterator[str]:
        """Yields its tables' folders, and the folders of their retryable failures."""
        for spec in self.tables():
            folder = f"tables/{spec.name}/{tables[spec.name]}"
            yield folder
            yield f"{folder}/_failed"

    def needs_image(self, row: Row) -> bool:
        """Returns whether to read a row's image; called before `row.image` is set.

        Ignored unless the stage `reads_images`.
        """
        return True

    def first_use(self) -> str | None:
        """Returns a message about slow work on first use of this installation; None if none is due.

        Called before the work starts, in the process that waits for it.
        """
        return None

    def setup(self) -> None:
        """Loads models and native libraries. Called once in each worker process."""

    def rows_at_once(self) -> int:
        """Returns how many rows it processes at once.

        The runner gives a worker twice as many, from several shards.
        """
        return 1

    def doing(self, what: str) -> None:
        """Reports which part of the work begins, so that it can be named if the process dies.

        The runner of guarded shards replaces this method; by default it does nothing.
        """

    def spent(self) -> Mapping[str, float]:
        """Returns the seconds spent in each phase since the last call, for the run's counts.

        From `model` and `model_waits`, the run prints the share of time that a model was busy.
        Called from other threads than that of `process`.
        """
        return {}

    def counted(self) -> Mapping[str, int]:
        """Returns the stage's own counts since the last call, which the rows do not determine.

        Like `spent`, they go to the run: to `extra` of its line in `stages.jsonl`.
        """
        return {}

    def told(self, counts: Mapping[str, int]) -> Sequence[str]:
        """Returns lines about a run's sums of `counted`, for its output and the report."""
        return ()

    @abstractmethod
    def process(self, rows: Iterator[Row]) -> Iterator[Result | RowFailure]:
        """Yields one result for each row, in any order.

        Raises:
            StoppedError: No worker should process any more rows; the run ends.
        """


class ColumnStage(RowStage[SettingsT]):
    """A stage that maps stored columns to columns; it implements `compute` instead of `process`.

    It runs as plain Ray tasks, without actors. A row's values must not depend on the rows computed
    with it: if `compute` raises, the runner bisects the rows until it has isolated those that cause
    it, and in a guarded shard it computes every row on its own.
    """

    reads_images: ClassVar[bool] = False

    def reads(self, wanted: frozenset[str]) -> Sequence[str]:
        """Returns those of `columns` that the `wanted` tables need; the others are not read."""
        return self.columns

    @abstractmethod
    def compute(self, columns: pa.Table, wanted: frozenset[str]) -> Mapping[str, pa.Table]:
        """Computes the values of some rows.

        Args:
            columns: The rows' input columns, named as in `reads`. A value is NULL if its table has
                no such row, and the column is of type `null` if the table has none of the rows.
                `TABLE:error` can be read as well.
            wanted: Names of the tables that lack these rows.

        Returns:
            Wanted table -> its value columns, with the rows in the order of `columns`; and if some
            rows failed, a column `error` with their reason codes.
        """

    def process(self, rows: Iterator[Row]) -> Iterator[Result | RowFailure]:
        """Computes each row on its own; the runner uses it for shards on which workers died."""
        for row in rows:
            columns = {name: pa.array([value]) for name, value in row.columns.items()}
            tables = self.compute(pa.table(columns), row.wanted)
            values: dict[str, Any] = {}
            for name, table in tables.items():
                (value,) = table.to_pylist()
                values[name] = {"error": value["error"]} if value.get("error") else value
            yield Result(row, values)
