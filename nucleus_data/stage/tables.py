"""A stage's declaration of a table that it writes: schema, identity, and which records it has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa


@dataclass(frozen=True)
class RowChoice:
    """Which of a stage's records get a row in one of its tables; no value depends on it.

    Attributes:
        where: SQL over one record's signals, in the syntax of rules; empty for all records.
        key: The setting that has `where`, for messages.
        share: Share of the records, 0 to 1.
        share_key: Key of the pseudo-random draw: tables with the same key get the same records.
        follows: A table of the same stage that is made before this one. Only records that it has,
            or will have, are chosen.
    """

    where: str = ""
    key: str = ""
    share: float = 1.0
    share_key: str = ""
    follows: str = ""


class Condition(Protocol):
    """A checked `RowChoice.where`.

    Attributes:
        columns: The columns that it reads, as `table:column`. It is evaluated only for records that
            have a row in all of these tables.
    """

    @property
    def columns(self) -> Sequence[str]:
        """The columns that it reads, as `table:column`."""

    def answers(self, columns: pa.Table) -> pa.ChunkedArray:
        """Evaluates the condition: true, false or NULL for each row of its `columns`."""


@dataclass(frozen=True)
class TableSpec:
    """One table that a stage writes.

    Attributes:
        name: Folder under `tables/`, for example `inspect.tone`.
        schema: The value columns. `shard`, `row`, `id` go before them and `error` after them; the
            runner adds those.
        version: Increased by hand when the code would give other values for the same input.
        settings: JSON-able settings that change values (never resources or batch sizes).
        inputs: Names of tables whose values the rows depend on, without those that only choose
            rows.
        needs: Names of tables that must have a row for a record before this one can. Until then the
            record is not processed, so that an input that is missing for now is no final failure.
        chosen: Which of the stage's records the table has.
        again: Whether rows that exist can be processed again (`corpus.renewed`).
    """

    name: str
    schema: pa.Schema
    version: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    chosen: RowChoice = RowChoice()
    again: bool = False
