"""Runs a column stage on the rows of one shard, which are passed as Arrow tables.

The result is committed like that of any row stage, with the same keys, order, error columns and
bytes as if each row had been processed on its own.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus.tables import table_schema
from nucleus_data.errors import CorpusError, DiskFullError
from nucleus_data.runner.computed import ERROR, Computed
from nucleus_data.runner.outcomes import RAISED, raised
from nucleus_data.runner.rows import ShardRows
from nucleus_data.runner.stored import read_columns
from nucleus_data.stage import ColumnStage, Row, RowFailure, TableSpec

KEY = ["shard", "row", "id"]


@dataclass(frozen=True)
class Piece:
    """Rows that are missing from the same tables.

    Attributes:
        rows: Their records.
        columns: The stage's input columns.
        wanted: The tables from which they are missing.
    """

    rows: pa.Table
    columns: pa.Table
    wanted: frozenset[str]

    def halves(self) -> Iterator[Self]:
        """Yields the first and the second half."""
        middle = self.rows.num_rows // 2
        for start, count in ((0, middle), (middle, self.rows.num_rows - middle)):
            rows, columns = self.rows.slice(start, count), self.columns.slice(start, count)
            yield type(self)(rows, columns, self.wanted)


def run_columns(state: ShardRows, stage: ColumnStage[Any], touch: Callable[[], None]) -> None:
    """Runs a column stage on the rows of a shard that lack a result, in this process.

    Args:
        state: The shard; it is not committed.
        stage: The stage, after its setup.
        touch: Called before each piece.
    """
    start = time.perf_counter()
    read = _columns(state, stage)
    state.summary.seconds["read"] += time.perf_counter() - start
    start = time.perf_counter()
    for piece in _pieces(state, read):
        _compute(state, stage, piece, touch)
    state.summary.seconds["process"] += time.perf_counter() - start


def _compute(
    state: ShardRows, stage: ColumnStage[Any], piece: Piece, touch: Callable[[], None]
) -> None:
    """Computes a piece; if the stage raises, bisects it until only the failing rows fail."""
    touch()
    try:
        made = stage.compute(piece.columns, piece.wanted)
    except DiskFullError:
        raise
    except Exception as error:
        if piece.rows.num_rows > 1:
            for half in piece.halves():
                _compute(state, stage, half, touch)
            return
        (record,) = piece.rows.select([*KEY, "file"]).to_pylist()
        row = Row(**record, image=None, columns={}, wanted=piece.wanted)
        state.accept(RowFailure(row, RAISED, raised(error), retryable=True))
        return
    tables = {
        name: _stored(stage.name, state.specs[name], made.get(name), piece.rows)
        for name in sorted(piece.wanted)
    }
    state.computed.append(Computed(piece.rows, tables))


def _stored(stage: str, spec: TableSpec, made: pa.Table | None, rows: pa.Table) -> pa.Table:
    """Converts a stage's result to the rows of a table.

    Raises:
        CorpusError: The result has other columns, or another number of rows.
    """
    if made is None:
        raise CorpusError(f"stage {stage!r}, table {spec.name!r}: nothing was computed")
    if made.num_rows != rows.num_rows or {*made.column_names} - {ERROR} != {*spec.schema.names}:
        raise CorpusError(
            f"stage {stage!r}, table {spec.name!r}: expected {rows.num_rows} rows "
            f"of {spec.schema.names}, got {made.num_rows} of {made.column_names}"
        )
    schema = table_schema(spec.schema)
    given = {**{n: rows.column(n) for n in KEY}, **{n: made.column(n) for n in made.column_names}}
    given.setdefault(ERROR, pa.nulls(rows.num_rows, pa.string()))
    failed = given[ERROR].is_valid()
    if pc.any(failed).as_py():  # failed rows have no values
        for name in spec.schema.names:
            given[name] = pc.if_else(failed, pa.scalar(None, given[name].type), given[name])
    columns = [given[field.name].cast(field.type) for field in schema]
    return pa.table(columns, schema=schema).combine_chunks()


def _pieces(state: ShardRows, columns: pa.Table) -> Iterator[Piece]:
    """Yields the rows to process, grouped by the tables from which they are missing."""
    rows = state.todo.column("row").to_numpy()
    names = list(state.lacking)
    lacks = np.stack([np.isin(rows, state.lacking[name]) for name in names], axis=1)
    kinds, kind_of = np.unique(lacks, axis=0, return_inverse=True)
    for number, kind in enumerate(kinds):
        wanted = frozenset(name for name, lacking in zip(names, kind, strict=True) if lacking)
        of_kind = pa.array(kind_of.reshape(-1) == number)
        if len(kinds) == 1:
            yield Piece(state.todo, columns, wanted)
            continue
        yield Piece(state.todo.filter(of_kind), columns.filter(of_kind), wanted)


def _columns(state: ShardRows, stage: ColumnStage[Any]) -> pa.Table:
    """Reads the input columns of the rows to process."""
    wanted = state.todo.column("row").to_numpy()
    lacking = frozenset(name for name, rows in state.lacking.items() if len(rows))
    return read_columns(state.table, state.shard, stage.reads(lacking), wanted)
