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
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, Protocol, Required, TypedDict, TypeVar

import pyarrow as pa
from pydantic import BaseModel


@dataclass(frozen=True)
class RowChoice:
    """Which of the records that a stage works on one table is asked about; no value depends on it.

    Attributes:
        where: SQL over one record's signals, as rules have it; empty for all records.
        key: The setting that has it, for messages.
        share: Share of the records.
        share_key: What the share is drawn with: tables with one key get the same records.
        follows: A table of the same stage that is made before: only records that it has, or will.
    """

    where: str = ""
    key: str = ""
    share: float = 1.0
    share_key: str = ""
    follows: str = ""


class Condition(Protocol):
    """A checked `RowChoice.where`.

    Attributes:
        columns: What it reads, as `table:column`. Only records with a row in all of these tables
            are asked.
    """

    @property
    def columns(self) -> Sequence[str]:
        """As above."""

    def answers(self, columns: pa.Table) -> pa.ChunkedArray:
        """True, false or NULL for each of some records, of whose columns these are the values."""


@dataclass(frozen=True)
class TableSpec:
    """One table that a stage writes.

    Attributes:
        name: Folder under `tables/`, for example `inspect.tone`.
        schema: The value columns. `shard`, `row`, `id` go before them and `error` after them; the
            runner adds those.
        version: Raised by hand when the same input would give other values.
        settings: JSON-able settings that change values (never resources or batch sizes).
        inputs: Names of tables whose values enter the rows; tables that only choose rows do not.
        needs: Names of tables that must have a record's row before this one can: until then it is
            not asked about. What an input lacks for now then fails nothing for good.
        chosen: Which records it is asked about, of those that the stage works on.
        again: Whether rows that are there can be asked about again (`corpus.again`).
    """

    name: str
    schema: pa.Schema
    version: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    chosen: RowChoice = RowChoice()
    again: bool = False


@dataclass(slots=True, eq=False)
class Row:
    """One record on its way through a stage.

    Attributes:
        shard: Image shard number.
        row: Place in the shard.
        id: Record id, 32 hex digits.
        file: Member name in the shard's tar, for example `3f….jpg`.
        image: The original bytes; None when the stage does not read images.
        columns: The input columns that the stage named in `columns`, by their name.
        wanted: Tables that lack this row. A stage may skip the work of the others.
        attempts: How many attempts there were by now, of tables that are asked about it again.
    """

    shard: int
    row: int
    id: str
    file: str | None
    image: bytes | None
    columns: dict[str, Any]
    wanted: frozenset[str]
    attempts: Mapping[str, int] = field(default_factory=dict)


class TableFailure(TypedDict, total=False):
    """One table of a row has no values, and why; the row's other tables may have theirs.

    Attributes:
        error: Reason code; a sentence may follow it after a colon.
        detail: What was found, for a person to read.
        retryable: Whether it may pass: it is kept apart and done again by `nucleus retry`.
        attempts: How many there were by now, those of earlier rounds among them, of what is
            attempted more than once; a column of the table, then.
    """

    error: Required[str]
    detail: str
    retryable: bool
    attempts: int


@dataclass(slots=True)
class Result:
    """Values for one row: table name -> column -> value.

    Tables outside `row.wanted` are ignored. A `TableFailure` in place of a table's values says that
    this table alone has none.
    """

    row: Row
    values: Mapping[str, Mapping[str, Any] | TableFailure]


@dataclass(slots=True)
class RowFailure:
    """The row has no values, and why.

    A failure that depends on the image and the settings alone (`retryable=False`) is a row of the
    table, with `reason` in its `error` column. A retryable one (a killed worker, a network) is kept
    apart and done again by `nucleus retry`.
    """

    row: Row
    reason: str
    detail: str = ""
    retryable: bool = False


SettingsT = TypeVar("SettingsT", bound=BaseModel)


class Stage(ABC, Generic[SettingsT]):
    """A named step of the line.

    Attributes:
        name: The stage's name, as in `nucleus <name>`, and its section in the configuration.
        help: One sentence for `nucleus --help`.
        Settings: Its settings model.
        resources: What its workers get unless the configuration says otherwise (fields of
            `runner.work.Resources`); None for a stage without workers.
        faces: Names of earlier stages that it asks; they are given to the constructor, in order.
        optional: Whether a line of stages leaves it out when a setting is `missing`.
        retried: Whether `nucleus retry` does its failures again.
    """

    name: ClassVar[str]
    help: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]
    resources: ClassVar[Mapping[str, float] | None] = {}
    faces: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[bool] = False
    retried: ClassVar[bool] = False

    def __init__(self, settings: SettingsT) -> None:
        self.settings = settings

    def missing(self) -> str | None:
        """Which setting it can't work without is not set, and what to give; None if all are."""
        return None

    def folders(self, tables: Mapping[str, str]) -> Iterator[str]:
        """Folders below the corpus that it writes into, to sweep what killed processes left there.

        Args:
            tables: Config hash of every table that is pinned.
        """
        yield from ()


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


class CorpusStage(Stage[SettingsT]):
    """A stage that does one thing about the whole corpus.

    What each method is given is a `nucleus_data.runner.run.Run`, which it reads and never changes.
    """

    @abstractmethod
    def pin(self, run: Any) -> Mapping[str, str]:
        """What identifies the result.

        Returns:
            Config hashes by table, of this stage's and of those that it found on the way; `set` is
            the folder of a training set. They are pinned in the run's plan.

        Raises:
            RequestError: Something that it needs is not there, or a setting is wrong.
        """

    @abstractmethod
    def count(self, run: Any) -> None:
        """Says what there would be to do; does nothing."""

    @abstractmethod
    def do(self, run: Any) -> None:
        """Does the work, and says what became of the rows. The run has the stage's pins."""

    def retry(self, run: Any) -> None:
        """Does again what failed in a way that may pass, if the stage is `retried`."""
        raise NotImplementedError(f"{self.name} has nothing to retry")
