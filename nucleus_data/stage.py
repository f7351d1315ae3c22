"""How a row stage is written: one class, one verb.

A stage says which tables it writes and turns rows into results. It knows nothing of Ray, object
stores, resuming or progress: the runner (`nucleus_data.runner`) hands it rows that still lack a
result and commits what comes back.

    class Brightness(Stage[BrightnessSettings]):
        name = "brightness"
        Settings = BrightnessSettings

        def tables(self):
            return [TableSpec("brightness", pa.schema([("luma", pa.float32())]), version=1)]

        def process(self, rows):
            for row in rows:
                yield Result(row, {"brightness": {"luma": mean_luma(row.image)}})

A stage that gathers rows (a model with batches) may receive `None` from the iterator: "no row is
waiting now; give back what you hold". Only a stage that holds rows back ever sees it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

import pyarrow as pa
from pydantic import BaseModel


@dataclass(frozen=True)
class TableSpec:
    """One table that a stage writes.

    Attributes:
        name: Folder under `tables/`, for example `inspect.tone`.
        schema: The value columns. `shard`, `row`, `id` go before them and `error` after them; the
            runner adds those.
        version: Raised by hand when the same input would give other values.
        settings: JSON-able settings that change values (never resources or batch sizes).
        inputs: Names of tables whose values enter the rows (not those that only choose rows).
    """

    name: str
    schema: pa.Schema
    version: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()


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
    """

    shard: int
    row: int
    id: str
    file: str | None
    image: bytes | None
    columns: dict[str, Any]
    wanted: frozenset[str]


@dataclass(slots=True)
class Result:
    """Values for one row: table name -> column -> value.

    Tables outside `row.wanted` are ignored. `{"error": reason}` in place of a table's values says
    that this table alone could not be measured.
    """

    row: Row
    values: Mapping[str, Mapping[str, Any]]


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
    """A named step from rows to results.

    It has three phases: construct (cheap, picklable), `setup` (load a model), `process`.

    Attributes:
        name: The stage's name, as in `nucleus <name>`.
        Settings: Its settings model, the section of the same name in the configuration.
        columns: Input columns, `table:column`, for example `records:source.caption`.
        reads_images: Whether rows carry the image's bytes.
        chooses: Which records it works on: `all` that have an image, or those `kept` (and pending)
            by the selection.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]
    columns: tuple[str, ...] = ()
    reads_images: ClassVar[bool] = True
    chooses: ClassVar[Literal["all", "kept"]] = "all"

    def __init__(self, settings: SettingsT) -> None:
        self.settings = settings

    @abstractmethod
    def tables(self) -> Sequence[TableSpec]:
        """The tables this stage writes, with all that enters their config hash."""

    def needs_image(self, row: Row) -> bool:
        """Whether a row's image is read, if the stage reads images; `row.image` is not set yet."""
        return True

    def setup(self) -> None:
        """Loads what is heavy (models, native libraries). Called once in each worker process."""

    def doing(self, what: str) -> None:
        """Says which part of the work begins, so that a death names it.

        The runner of guarded shards listens.
        """

    @abstractmethod
    def process(self, rows: Iterator[Row]) -> Iterator[Result | RowFailure]:
        """Turns rows into results, one for each row, in any order."""
