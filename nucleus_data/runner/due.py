"""Finds the rows of a shard that are due for each table of a stage, and why others are not."""

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
    """The due rows of a shard, table by table: those that a table should have now.

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
        """Finds the due rows of tables; a table must come after the one that it follows.

        Returns:
            bool[N], which candidates are due for any table.
        """
        asked = np.zeros(len(self._rows), bool)
        for spec in specs:
            mine = self._chosen(spec)
            if again := self._again.get(spec.name):
                mine |= np.isin(self._rows, list(again))
            asked |= mine
            self.due[spec.name] = self._rows[mine]
            self.lacking[spec.name] = self._lacking(spec.name, self.due[spec.name])
        for name, waiting in self._waiting.items():
            if count := int(waiting.sum()):
                self._summary.extra[f"{WAITING}{self._open(name).name}"] += count
        return asked

    def _chosen(self, spec: TableSpec) -> Mask:
        """Returns which candidates are due for a table, bool[N]."""
        chosen, mine = spec.chosen, np.ones(len(self._rows), bool)
        if chosen.share < 1:
            mine = self._leave(spec, mine, self._in_share(chosen.share_key, chosen.share))
        if chosen.follows:
            mine = self._following(spec, mine)
        mine = self._having(spec.needs, mine)
        if chosen.where:
            mine = self._matching(spec, mine)
        return mine

    def _in_share(self, key: str, share: float) -> Mask:
        prefix = f"{SHARE}{key}:"
        return np.array([order_unit(prefix, i) < share for i in self._ids.to_pylist()], bool)

    def _following(self, spec: TableSpec, mine: Mask) -> Mask:
        """Returns those whose parent exists or is about to; if it failed retryably, they wait."""
        parent = spec.chosen.follows
        asked = np.isin(self._rows, self.due[parent])
        there = self._there(parent)
        mine = self._leave(spec, mine, asked | there, NO_PARENT)
        ready = there | np.isin(self._rows, self.lacking[parent])
        return self._wait(parent, mine, ready)

    def _matching(self, spec: TableSpec, mine: Mask) -> Mask:
        """Returns those for which the table's condition is true."""
        condition = self._conditions.get(spec.name)
        if condition is None:
            raise CorpusError(f"{spec.name}: {spec.chosen.key} was not checked; this is a fault")
        mine = self._having(tables_of(condition), mine)
        found = condition_answers(condition, self._open, self._shard, self._rows[mine])
        left_out = self._summary.tables[spec.name].left_out
        left_out[NO_ANSWER] += found.null_count
        answers = found.fill_null(False).to_numpy(zero_copy_only=False)
        left_out[NO_MATCH] += len(answers) - found.null_count - int(answers.sum())
        matching = np.zeros(len(mine), bool)
        matching[mine] = answers
        return matching

    def _having(self, names: Collection[str], mine: Mask) -> Mask:
        """Returns those with a row in all of some tables; the others wait for the missing ones."""
        ready = [self._wait(name, mine, self._there(name)) for name in names]
        found: Mask = np.all([mine, *ready], axis=0)
        return found

    def _there(self, name: str) -> Mask:
        if name not in self._covered:
            covered = self._open(name).covered(self._shard)
            self._covered[name] = np.isin(self._rows, covered)
        return self._covered[name]

    def _wait(self, name: str, mine: Mask, ready: Mask) -> Mask:
        """Returns those that are ready; the others are counted, once each, as waiting."""
        waiting = self._waiting.setdefault(name, np.zeros(len(mine), bool))
        waiting |= mine & ~ready
        return mine & ready

    def _leave(self, spec: TableSpec, mine: Mask, wanted: Mask, why: str = NOT_IN_SHARE) -> Mask:
        self._summary.tables[spec.name].left_out[why] += int((mine & ~wanted).sum())
        return mine & wanted
