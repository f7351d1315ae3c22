"""One shard of a row stage: finds rows without a result, hands them out, commits the outcomes."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.images import read_images
from nucleus_data.corpus.renewed import attempts_of
from nucleus_data.corpus.tables import Table, missing_rows
from nucleus_data.errors import CorpusError
from nucleus_data.runner.candidates import chosen_records, lacking_rows
from nucleus_data.runner.computed import Computed, joined
from nucleus_data.runner.due import DueRows
from nucleus_data.runner.parts import count_outcomes, divided
from nucleus_data.runner.work import Summary
from nucleus_data.stage import Condition, Result, Row, RowChoice, RowFailure, RowStage


@dataclass(frozen=True)
class StageJob:
    """Everything a worker needs to process shards of a row stage; small and picklable.

    Attributes:
        uri: The corpus.
        storage_options: Options for fsspec.
        stage: The stage, constructed but not set up.
        tables: Config hash of every table that the stage reads or writes.
        sample: Share of the records to work on, chosen by a keyed hash of their ids.
        retry: Whether to work only on rows with retryable failures.
        row_timeout_s: Seconds after which an image counts as hanging.
        row_memory_bytes: Memory limit of the child process in a guarded run.
        cpus: CPUs of the worker.
        conditions: Conditions on records, for tables that are made for some records only.
        only_again: Whether to work only on rows that are computed again.
        trial: Shard -> the only rows to work on, for every table, whatever its conditions; for
            results that are shown but not stored.
    """

    uri: str
    storage_options: Mapping[str, Any]
    stage: RowStage[Any]
    tables: Mapping[str, str]
    sample: float = 1.0
    retry: bool = False
    row_timeout_s: float = 300.0
    row_memory_bytes: int = 8 << 30
    cpus: int = 1
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    only_again: bool = False
    trial: Mapping[int, Sequence[int]] | None = None

    def open(
        self, shard: int, limit: int | None = None, corpus: Corpus | None = None
    ) -> "ShardRows":
        """Opens a shard, and finds the rows to process.

        Args:
            shard: The shard's number.
            limit: Maximum number of its rows to work on.
            corpus: The job's corpus, if it is already open.
        """
        return ShardRows(self, shard, limit, corpus or Corpus(self.uri, self.storage_options))


class ShardRows:
    """The rows of one shard while a stage processes them.

    `rows()` hands them out, `accept()` takes outcomes in any order, and `commit()` writes them in
    row order. A column stage gets and returns them in pieces (`columns.run_columns`).

    Attributes:
        todo: The records that are missing from any table, by row.
        lacking: Table -> rows that it lacks, ascending.
        due: Table -> rows that it should have, ascending.
        computed: Results of a column stage.
    """

    def __init__(self, job: StageJob, shard: int, limit: int | None, corpus: Corpus) -> None:
        start = time.perf_counter()
        self.job = job
        self.shard = shard
        self.corpus = corpus
        self.footer = next(iter(self.corpus.records.metadata(shard)), {})
        self.specs = {spec.name: spec for spec in job.stage.tables()}
        self.targets = {
            name: Table(self.corpus.store, name, job.tables[name]) for name in self.specs
        }
        self.summary = Summary()
        selection = self.table("selection") if job.stage.chooses == "kept" else None
        candidates = chosen_records(self.corpus, shard, selection, job.sample)
        if job.only_again:
            kept_rows = pa.array(sorted(self.attempts), pa.int32())
            candidates = candidates.filter(pc.is_in(candidates.column("row"), kept_rows))
        listed = {name: self._listed(name) for name in self.specs}
        specs = list(self.specs.values())
        if job.trial is not None:
            kept_rows = pa.array(job.trial.get(shard, ()), pa.int32())
            candidates = candidates.filter(pc.is_in(candidates.column("row"), kept_rows))
            specs = [replace(spec, chosen=RowChoice(), needs=()) for spec in specs]
        due_rows = DueRows(
            candidates, shard, self.table, job.conditions, self._lacking, self.summary, listed
        )
        is_due = due_rows.ask(specs)
        self.due, self.lacking = due_rows.due, due_rows.lacking
        if self.specs:
            candidates = candidates.filter(pa.array(is_due))
        if limit is not None:
            candidates = candidates.slice(0, limit)
        self.summary.rows = candidates.num_rows
        rows = candidates.column("row").to_numpy()
        for name in self.targets:
            self.due[name] = np.intersect1d(self.due[name], rows)
            self.lacking[name] = np.intersect1d(self.lacking[name], rows)
            counts = self.summary.tables[name]
            counts.rows = len(self.due[name])
            counts.already = counts.rows - len(self.lacking[name])
        lacked = np.concatenate([np.empty(0, np.int64), *self.lacking.values()])
        self.todo = candidates.filter(pa.array(np.isin(rows, lacked)))
        self.computed: list[Computed] = []
        self.summary.already = candidates.num_rows - self.todo.num_rows
        self.outcomes: dict[int, Result | RowFailure] = {}
        self.summary.seconds["plan"] += time.perf_counter() - start

    def table(self, name: str) -> Table:
        """Opens a table that the stage reads or writes."""
        return Table(self.corpus.store, name, self.job.tables[name])

    def _lacking(self, name: str, due: np.ndarray) -> np.ndarray:
        target = self.targets[name]
        retry, repeated = self.job.retry, self.job.stage.repeated
        return lacking_rows(self.corpus, target, self.shard, due, retry=retry, repeated=repeated)

    @cached_property
    def attempts(self) -> dict[int, dict[str, int]]:
        """Row -> table -> number of attempts so far, for rows that are computed again."""
        by_row: dict[int, dict[str, int]] = {}
        for name in self.targets:
            for row, attempts in self._listed(name).items():
                by_row.setdefault(row, {})[name] = attempts
        return by_row

    def _listed(self, name: str) -> dict[int, int]:
        """Returns a table's rows that are computed again, with their attempts so far."""
        return attempts_of(self.corpus.store, name, self.job.tables, self.shard)

    @property
    def complete(self) -> bool:
        """Whether every row has an outcome or a computed result."""
        computed = sum(piece.rows.num_rows for piece in self.computed)
        return len(self.outcomes) + computed == self.todo.num_rows

    @cached_property
    def wanted(self) -> dict[int, frozenset[str]]:
        """Row -> tables that lack it."""
        wanted: dict[int, set[str]] = {}
        for name, rows in self.lacking.items():
            for row in rows.tolist():
                wanted.setdefault(row, set()).add(name)
        return {row: frozenset(names) for row, names in wanted.items()}

    def rows(self) -> Iterator[Row]:
        """Yields the rows without an outcome, with image bytes and input columns, in row order."""
        stage = self.job.stage
        columns = self._columns()
        todo = missing_rows(self.todo, np.array(sorted(self.outcomes), np.int64))
        rows = [
            Row(
                shard=self.shard,
                row=record["row"],
                id=record["id"],
                file=record["file"],
                image=None,
                columns={name: values.get(record["row"]) for name, values in columns.items()},
                wanted=self.wanted[record["row"]],
                attempts=self.attempts.get(record["row"], {}),
            )
            for record in todo.select(["row", "id", "file"]).to_pylist()
        ]
        # Decided for all rows first, so that images are read in as few requests as possible.
        read = [stage.reads_images and stage.needs_image(row) for row in rows]
        images: Iterator[bytes] = iter(())
        if any(read):
            wanted = todo.filter(pa.array(read))
            tar_size = int(self.footer.get("tar_size", 0))
            images = read_images(self.corpus.store, self.shard, wanted, tar_size)
        for row, has_image in zip(rows, read, strict=True):
            if has_image:
                start = time.perf_counter()
                row.image = next(images)
                self.summary.seconds["read"] += time.perf_counter() - start
                self.summary.bytes += len(row.image)
            yield row

    def accept(self, outcome: Result | RowFailure) -> None:
        """Accepts the outcome of one row."""
        row = outcome.row
        if row.row in self.outcomes or row.row not in self.wanted:
            raise CorpusError(
                f"stage {self.job.stage.name!r} returned a second result "
                f"for row {row.row} of shard {self.shard}"
            )
        # Outcomes are kept until the shard is complete; free their images now.
        row.image = None
        self.outcomes[row.row] = outcome

    def took(self, stage: RowStage[Any]) -> None:
        """Adds the stage's own counts, and its breakdown of the seconds of `process`."""
        for phase, seconds in stage.spent().items():
            self.summary.seconds[phase] += seconds
            self.summary.seconds["process"] -= seconds
        self.summary.extra.update(stage.counted())

    def commit(self) -> Summary:
        """Writes one part per table, in row order, and returns the counts."""
        start = time.perf_counter()
        if not self.complete:
            raise CorpusError(
                f"stage {self.job.stage.name!r} returned {len(self.outcomes)} results "
                f"for {self.todo.num_rows} rows of shard {self.shard}"
            )
        outcomes = [self.outcomes[row] for row in sorted(self.outcomes)]
        for name, target in self.targets.items():
            of_table = [o for o in outcomes if name in o.row.wanted]
            part, again = divided(self.job.stage, self.specs[name], of_table)
            part = joined([*(p.tables[name] for p in self.computed if name in p.tables)], part)
            # Retryable failures are stored apart, as a row of the table would count as done.
            if part is not None:
                target.append(self.shard, part, self._part_footer())
            if again is not None:
                target.failed.append(self.shard, again, self._part_footer())
        for piece in self.computed:
            piece.count(self.summary)
        count_outcomes(self.summary, outcomes)
        self.summary.seconds["commit"] += time.perf_counter() - start
        return self.summary

    def _columns(self) -> dict[str, dict[int, Any]]:
        """Reads the input columns: `table:column` -> row -> value."""
        columns: dict[str, dict[int, Any]] = {}
        for path in self.job.stage.columns:
            name, _, column = path.partition(":")
            table = self.table(name).read(self.shard)
            if table is None or column not in table.column_names:
                columns[path] = {}  # an upstream column that this source lacks: all NULL
                continue
            rows = table.column("row").to_pylist()
            columns[path] = dict(zip(rows, _values(table.column(column)), strict=True))
        return columns

    def _part_footer(self) -> dict[str, str]:
        keys = ("tar_size", "tar_sha256")
        return {key: self.footer[key] for key in keys if key in self.footer}


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Converts a column to Python values; vectors to numpy arrays, a tenth of the size of lists."""
    if not (pa.types.is_list(column.type) and pa.types.is_floating(column.type.value_type)):
        return list(column.to_pylist())
    return [v.values.to_numpy(zero_copy_only=False) if v.is_valid else None for v in column]
