"""Which captions are asked for again: what a check refused, or what a condition finds bad."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.again import SCHEMA, attempts_of
from nucleus_data.corpus.tables import Table, missing_rows
from nucleus_data.runner.stored import read_columns
from nucleus_data.stage import Condition
from nucleus_data.stages.caption.tables import SCHEMA as CAPTION

ASKED = "condition"  # the reason of a caption that is there
# Of a caption table, what a condition may read beside the record's signals.
OWN = tuple(field for field in CAPTION if not pa.types.is_list(field.type))


@dataclass(frozen=True)
class Wanted:
    """What is asked for again.

    Attributes:
        reasons: Of failures.
        condition: Of captions that are there; None for none.
        attempts: How many attempts a failure had in its round, where it does not say so itself.
    """

    reasons: Collection[str] = ()
    condition: Condition | None = None
    attempts: int = 1


@dataclass
class Found:
    """What was found in a shard.

    Attributes:
        rows: The list's, by row; as `corpus.again.SCHEMA` has them.
        waiting: Captions for which a table that the condition reads has no row.
        no_answer: Those for which it is NULL.
    """

    rows: pa.Table
    waiting: int = 0
    no_answer: int = 0


def find_again(
    corpus: Corpus,
    tables: Mapping[str, str],
    name: str,
    shard: int,
    records: pa.Table,
    wanted: Wanted,
) -> Found:
    """The rows of a caption table that are asked for again.

    Args:
        corpus: The corpus.
        tables: Config hashes of the tables.
        name: The caption table.
        shard: The shard's number.
        records: Those that the stage works on.
        wanted: What is asked for.
    """

    def open_table(table: str) -> Table:
        return Table(corpus.store, table, tables[table])

    earlier = attempts_of(corpus.store, name, tables, shard)
    kept = records.column("row").to_numpy()
    again: dict[int, tuple[int, str]] = {}
    for row, reason, attempts in _failures(open_table(name), shard, kept):
        if reason.split(":")[0] in wanted.reasons:
            again[row] = (attempts or earlier.get(row, 0) + wanted.attempts, reason)
    found = Found(SCHEMA.empty_table())
    if wanted.condition is not None:
        _ask(open_table, name, shard, kept, wanted.condition, again, found)
    keys = {row["row"]: row for row in records.select(["shard", "row", "id"]).to_pylist()}
    rows: list[dict[str, Any]] = [
        {**keys[row], "attempts": attempts, "reason": reason}
        for row, (attempts, reason) in sorted(again.items())
    ]
    found.rows = pa.Table.from_pylist(rows, SCHEMA)
    return found


def _ask(
    open_table: Any,
    name: str,
    shard: int,
    kept: np.ndarray,
    condition: Condition,
    again: dict[int, tuple[int, str]],
    found: Found,
) -> None:
    """Adds the captions for which a condition is true."""
    captions = Table.read(open_table(name), shard, ["row", "caption", "attempt"])
    if captions is None:
        return
    captions = captions.filter(pc.is_valid(captions.column("caption")))
    there = np.isin(captions.column("row").to_numpy(), kept)
    for table in {path.partition(":")[0] for path in condition.columns}:
        ready = np.isin(captions.column("row").to_numpy(), open_table(table).covered(shard))
        found.waiting = max(found.waiting, int((there & ~ready).sum()))
        there &= ready
    captions = captions.filter(pa.array(there))
    columns = read_columns(open_table, shard, condition.columns, captions.column("row").to_numpy())
    if not columns.num_columns:  # a condition on nothing
        columns = pa.table({"": pa.nulls(captions.num_rows)})
    answers = condition.answers(columns)
    found.no_answer += answers.null_count
    bad = captions.filter(answers.fill_null(False))
    for row, attempt in zip(*(bad.column(c).to_pylist() for c in ("row", "attempt")), strict=True):
        again[row] = ((attempt or 0) + 1, ASKED)


def _failures(table: Table, shard: int, kept: np.ndarray) -> Sequence[tuple[int, str, int | None]]:
    """The rows that have no caption, why, and after how many attempts, if that is known.

    Those that may pass, and those that do not.
    """
    found: list[tuple[int, str, int | None]] = []
    passing = table.failed.read(shard, ["row", "reason", "attempts"])
    if passing is not None:
        found += _told(missing_rows(passing, table.covered(shard)), "reason")
    final = table.read(shard, ["row", "error", "attempts"])
    if final is not None:
        found += _told(final.filter(pc.is_valid(final.column("error"))), "error")
    mine = set(kept.tolist())
    return [one for one in found if one[0] in mine]


def _told(rows: pa.Table, reason: str) -> list[tuple[int, str, int | None]]:
    """Row, reason and attempts; tables of earlier versions say nothing of the last."""
    columns = [rows.column(name).to_pylist() for name in ("row", reason)]
    there = "attempts" in rows.column_names
    attempts = rows.column("attempts").to_pylist() if there else [None] * rows.num_rows
    return list(zip(*columns, attempts, strict=True))
