"""Finds captions to generate again: those that a check found, or that match a condition."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.renewed import SCHEMA, attempts_of, digest_of, draft_of
from nucleus_data.corpus.tables import Table, missing_rows
from nucleus_data.runner.candidates import chosen_records
from nucleus_data.runner.stored import condition_answers, tables_of
from nucleus_data.runner.work import Summary
from nucleus_data.stage import Condition
from nucleus_data.stages.caption.tables import SCHEMA as CAPTION

ASKED = "condition"  # the reason noted for a stored caption that matches the condition
# Columns of a caption table that a condition may read, beside the record's signals.
OWN = tuple(field for field in CAPTION if not pa.types.is_list(field.type))
CAPTION_COLUMNS = pa.schema(
    [("row", pa.int32()), *(CAPTION.field(name) for name in ("attempt", "flags"))]
)
# What `FindTask` counts.
ROWS, DIGEST, NO_ROW, NO_ANSWER = "rows", "digest", "no row", "no answer"


@dataclass(frozen=True)
class Wanted:
    """Which captions to generate again.

    Attributes:
        reasons: Reasons of failures to retry.
        condition: Stored captions for which this is true are replaced; None for none.
        attempts: Attempts to assume for a failure that does not record how many it had.
        flags: Stored captions that have one of these flags are replaced.
    """

    reasons: Collection[str] = ()
    condition: Condition | None = None
    attempts: int = 1
    flags: Collection[str] = ()


@dataclass
class Found:
    """What was found in a shard.

    Attributes:
        rows: The captions to generate again, by row, in the schema `corpus.renewed.SCHEMA`.
        waiting: Number of captions for which a table that the condition reads has no row yet.
        no_answer: Number of captions for which the condition is NULL.
    """

    rows: pa.Table
    waiting: int = 0
    no_answer: int = 0


@dataclass(frozen=True)
class FindTask:
    """Finds the captions of one variant to generate again, in one shard (a task of the runner).

    Attributes:
        uri: The corpus.
        storage_options: Options for fsspec.
        tables: Config hashes of the tables, by name; that of the selection among them.
        name: The caption table.
        sample: Share of the records that the run works on.
        wanted: Which captions to generate again.
        folder: The run's folder, which gets a draft of the list; None to only count.
    """

    uri: str
    storage_options: Mapping[str, Any]
    tables: Mapping[str, str]
    name: str
    sample: float
    wanted: Wanted
    folder: str | None

    def run(self, number: int) -> Summary:
        """Finds the captions of a shard; `extra` has `ROWS`, `DIGEST`, `NO_ROW` and `NO_ANSWER`."""
        corpus = Corpus(self.uri, self.storage_options)
        selection = Table(corpus.store, "selection", self.tables["selection"])
        records = chosen_records(corpus, number, selection, self.sample)
        summary = Summary()
        if not records.num_rows:
            return summary
        result = find_again(corpus, self.tables, self.name, number, records, self.wanted)
        rows = result.rows
        if rows.num_rows and self.folder is not None:
            draft = draft_of(corpus.store, self.name, self.folder)
            draft.append(number, rows, {})
            # An attempt whose worker died may have appended other rows, which stay in the draft.
            rows = draft.read(number)
        summary.done = rows.num_rows
        summary.extra.update({ROWS: rows.num_rows, DIGEST: digest_of(rows)} if rows else {})
        summary.extra.update({NO_ROW: result.waiting, NO_ANSWER: result.no_answer})
        return summary


def find_again(
    corpus: Corpus,
    tables: Mapping[str, str],
    name: str,
    shard: int,
    records: pa.Table,
    wanted: Wanted,
) -> Found:
    """Finds the rows of a caption table to generate again.

    Args:
        corpus: The corpus.
        tables: Config hashes of the tables, by name.
        name: The caption table.
        shard: The shard's number.
        records: Records of the shard that the stage works on.
        wanted: Which captions to generate again.
    """

    def open_table(table: str) -> Table:
        return Table(corpus.store, table, tables[table])

    earlier = attempts_of(corpus.store, name, tables, shard)
    kept = records.column("row").to_numpy()
    again: dict[int, tuple[int, str]] = {}
    for row, reason, attempts in _failures(open_table(name), shard, kept):
        if reason.split(":")[0] in wanted.reasons:
            again[row] = (attempts or earlier.get(row, 0) + wanted.attempts, reason)
    result = Found(SCHEMA.empty_table())
    captions = _captions(open_table(name), shard, kept)
    _add_flagged(captions, wanted.flags, again)
    if wanted.condition is not None:
        _add_matching(open_table, captions, shard, wanted.condition, again, result)
    keys = {row["row"]: row for row in records.select(["shard", "row", "id"]).to_pylist()}
    rows: list[dict[str, Any]] = [
        {**keys[row], "attempts": attempts, "reason": reason}
        for row, (attempts, reason) in sorted(again.items())
    ]
    result.rows = pa.Table.from_pylist(rows, SCHEMA)
    return result


def _captions(table: Table, shard: int, kept: np.ndarray) -> pa.Table:
    """Returns row, attempt and flags of the stored captions of some rows."""
    captions = Table.read(table, shard, ["row", "caption", "attempt", "flags"])
    if captions is None:
        return CAPTION_COLUMNS.empty_table()
    captions = captions.filter(pc.is_valid(captions.column("caption")))
    captions = captions.filter(pa.array(np.isin(captions.column("row").to_numpy(), kept)))
    # Imported captions have neither attempts nor flags.
    columns = [
        captions.column(field.name)
        if field.name in captions.column_names
        else pa.nulls(captions.num_rows, field.type)
        for field in CAPTION_COLUMNS
    ]
    return pa.table(columns, schema=CAPTION_COLUMNS)


def _add_flagged(
    captions: pa.Table, wanted: Collection[str], again: dict[int, tuple[int, str]]
) -> None:
    """Adds the stored captions with one of some flags to `again`."""
    if not wanted:
        return
    for row, attempt, flags in zip(*(column.to_pylist() for column in captions), strict=True):
        if found := [flag for flag in flags or () if flag in wanted]:
            again[row] = ((attempt or 0) + 1, found[0])


def _add_matching(
    open_table: Any,
    captions: pa.Table,
    shard: int,
    condition: Condition,
    again: dict[int, tuple[int, str]],
    result: Found,
) -> None:
    """Adds the stored captions for which a condition is true to `again`; counts in `result`."""
    if not captions.num_rows:
        return
    eligible = np.ones(captions.num_rows, bool)
    for table in tables_of(condition):
        ready = np.isin(captions.column("row").to_numpy(), open_table(table).covered(shard))
        result.waiting += int((eligible & ~ready).sum())
        eligible &= ready
    captions = captions.filter(pa.array(eligible))
    answers = condition_answers(condition, open_table, shard, captions.column("row").to_numpy())
    result.no_answer += answers.null_count
    bad = captions.filter(answers.fill_null(False))
    for row, attempt in zip(*(bad.column(c).to_pylist() for c in ("row", "attempt")), strict=True):
        again[row] = ((attempt or 0) + 1, ASKED)


def _failures(table: Table, shard: int, kept: np.ndarray) -> Sequence[tuple[int, str, int | None]]:
    """Returns (row, reason, attempts if known) of retryable and of permanent failures."""
    failures: list[tuple[int, str, int | None]] = []
    retryable = table.failed.read(shard, ["row", "reason", "attempts"])
    if retryable is not None:
        failures += _failure_tuples(missing_rows(retryable, table.covered(shard)), "reason")
    final = table.read(shard, ["row", "error", "attempts"])
    if final is not None:
        failures += _failure_tuples(final.filter(pc.is_valid(final.column("error"))), "error")
    rows = set(kept.tolist())
    return [failure for failure in failures if failure[0] in rows]


def _failure_tuples(rows: pa.Table, reason: str) -> list[tuple[int, str, int | None]]:
    """Returns (row, reason, attempts); attempts are None in tables of earlier versions."""
    columns = [rows.column(name).to_pylist() for name in ("row", reason)]
    recorded = "attempts" in rows.column_names
    attempts = rows.column("attempts").to_pylist() if recorded else [None] * rows.num_rows
    return list(zip(*columns, attempts, strict=True))
