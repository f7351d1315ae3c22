"""Finds the rows of a shard that are due for each table of a stage, and counts the others.

A row is due if the table's choice of rows includes it and all tables that it needs have it. Others
are counted by the reason: they are left out, or they wait for a table.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from nucleus_data.corpus.tables import Table
from nucleus_data.errors import CorpusError
from nucleus_data.hashing import order_unit
from nucleus_data.runner.stored import condition_answers, tables_of
from nucleus_data.runner.work import WAITING, Summary
from nucleus_data.stage import Condition, TableSpec

# Reasons why a record is not due for a table: keys of `TableSummary.left_out`.
NO_MATCH, NO_ANSWER, NOT_IN_SHARE, NO_PARENT = (
    "where_false",
    "where_null",
    "outside_share",
    "without_parent",
)
SHARE = "share:"

Mask = np.ndarray


class DueRows:
    """The due rows of a shard, table by table: the rows that a table should have now.

    Args:
        candidates: The shard's records that the stage works on.
        shard: The shard's number.
        open_table: Opens a table by its name.
        conditions: Table -> its checked `chosen.where`.
        lacking: Returns the rows that a table lacks, of its due rows.
        summary: Gets the counts of records that wait for a table, or are left out.
        again: Table -> rows that are due in any case, as they are computed again.

    Attributes:
        due: Table -> its due rows, ascending.
        lacking: Table -> those of its due rows that it lacks.
    """

    def __init__(
        self,
        candidates: pa.Table,
        shard: int,
        open_table: Callable[[str], Table],
        conditions: Mapping[str, Condition],
        lacking: Callable[[str, np.ndarray], np.ndarray],
        summary: Summary,
        again: Mapping[str, Collection[int]] = MappingProxyType({}),
    ) -> None:
        self.due: dict[str, np.ndarray] = {}
        self.lacking: dict[str, np.ndarray] = {}
        self._rows: np.ndarray = candidates.column("row").to_numpy()
        self._ids = candidates.column("id")
        self._shard = shard
        self._open = open_table
        self._conditions = conditions
        self._lacking = lacking
        self._summary = summary
        self._again = again
        self._covered: dict[str, Mask] = {}
        self._waiting: dict[str, Mask] = {}

    def ask(self, specs: Sequence[TableSpec]) -> Mask:
        """Finds the due rows of tables.

        Args:
            specs: The tables; a table must come after the one that it follows.

        Returns:
            Whether each candidate is due for any table, bool[N].
        """
        due_for_any = np.zeros(len(self._rows), bool)
        for spec in specs:
            due = self._chosen(spec)
            if again := self._again.get(spec.name):
                due |= np.isin(self._rows, list(again))
            due_for_any |= due
            self.due[spec.name] = self._rows[due]
            self.lacking[spec.name] = self._lacking(spec.name, self.due[spec.name])
        for name, waiting in self._waiting.items():
            if count := int(waiting.sum()):
                self._summary.extra[f"{WAITING}{self._open(name).name}"] += count
        return due_for_any

    def _chosen(self, spec: TableSpec) -> Mask:
        """Returns which candidates are due for a table, bool[N]."""
        chosen, rows = spec.chosen, np.ones(len(self._rows), bool)
        if chosen.share < 1:
            rows = self._leave(spec, rows, self._in_share(chosen.share_key, chosen.share))
        if chosen.follows:
            rows = self._following(spec, rows)
        rows = self._having(spec.needs, rows)
        if chosen.where:
            rows = self._matching(spec, rows)
        return rows

    def _in_share(self, key: str, share: float) -> Mask:
        prefix = f"{SHARE}{key}:"
        return np.array([order_unit(prefix, i) < share for i in self._ids.to_pylist()], bool)

    def _following(self, spec: TableSpec, rows: Mask) -> Mask:
        """Returns the rows whose parent exists or is due; rows of a retryable failure wait."""
        parent = spec.chosen.follows
        parent_due = np.isin(self._rows, self.due[parent])
        parent_exists = self._there(parent)
        rows = self._leave(spec, rows, parent_due | parent_exists, NO_PARENT)
        ready = parent_exists | np.isin(self._rows, self.lacking[parent])
        return self._wait(parent, rows, ready)

    def _matching(self, spec: TableSpec, rows: Mask) -> Mask:
        """Returns the rows for which the table's condition is true; counts the others."""
        condition = self._conditions.get(spec.name)
        if condition is None:
            raise CorpusError(f"{spec.name}: {spec.chosen.key} was not checked; this is a bug")
        rows = self._having(tables_of(condition), rows)
        answers = condition_answers(condition, self._open, self._shard, self._rows[rows])
        left_out = self._summary.tables[spec.name].left_out
        left_out[NO_ANSWER] += answers.null_count
        is_true = answers.fill_null(False).to_numpy(zero_copy_only=False)
        left_out[NO_MATCH] += len(is_true) - answers.null_count - int(is_true.sum())
        matching = np.zeros(len(rows), bool)
        matching[rows] = is_true
        return matching

    def _having(self, names: Collection[str], rows: Mask) -> Mask:
        """Returns the rows that all of some tables have; the others wait for the missing tables."""
        ready = [self._wait(name, rows, self._there(name)) for name in names]
        complete: Mask = np.all([rows, *ready], axis=0)
        return complete

    def _there(self, name: str) -> Mask:
        """Returns which candidates a table has, bool[N]; cached."""
        if name not in self._covered:
            covered = self._open(name).covered(self._shard)
            self._covered[name] = np.isin(self._rows, covered)
        return self._covered[name]

    def _wait(self, name: str, rows: Mask, ready: Mask) -> Mask:
        """Returns the rows that are ready; the others are counted, once each, as waiting."""
        waiting = self._waiting.setdefault(name, np.zeros(len(rows), bool))
        waiting |= rows & ~ready
        return rows & ready

    def _leave(self, spec: TableSpec, rows: Mask, wanted: Mask, why: str = NOT_IN_SHARE) -> Mask:
        """Returns the rows that are wanted; the others are counted as left out."""
        self._summary.tables[spec.name].left_out[why] += int((rows & ~wanted).sum())
        return rows & wanted
