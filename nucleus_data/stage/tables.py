"""What a stage says of a table that it writes: schema, identity, and which records it has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa


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
