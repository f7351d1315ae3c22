"""What a selection is made of: the rules with what they need, and the shards of each task.

What the passes of `select` hand to each other lies beside the table, in `_walk/`, a file for each
group of shards: `members` (records in a pair), `told` (where these come from), `kept` (of these,
with what the order of preference reads), `answers` (of the rules; removed once the ledger is
written), `placeholders` and `dropped` (with the survivor). Their rows are the same however often
they are written, and in however many partitions the walk was done; what it needs for itself lies in
`_partitions/` until then. The selection lies under `tables/`, or, of a what-if, under its run.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import Table, missing_rows
from nucleus_data.errors import CorpusError, DiskFullError
from nucleus_data.runner.candidates import sample_rows
from nucleus_data.runner.work import Item
from nucleus_data.stages.select.curriculum import FIELD, Curriculum
from nucleus_data.stages.select.decide import decide
from nucleus_data.stages.select.expression import Expression
from nucleus_data.stages.select.judge import Mark, Shard, judge
from nucleus_data.stages.select.rules import Rule
from nucleus_data.stages.select.settings import PlaceholderSettings
from nucleus_data.stages.select.tiers import Tiers

TABLE = "selection"
WALK = "_walk"
PARTITIONS = "_partitions"
ROOT = "tables"
# Files of `_walk` are of so many shards: another number needs another `stage.VERSION`.
SHARDS_A_TASK = 16
RECORD_COLUMNS = ("shard", "row", "id", "error", "retryable")


class Decisions(NamedTuple):
    """What a selection is made with.

    Attributes:
        rules: Checked rules.
        required: Tables without whose row a record is pending.
        prefer: The order of preference, best first.
        tiers: The quality tiers; None for none.
        curriculum: The curriculum buckets; None for none.
    """

    rules: list[Rule]
    required: list[str]
    prefer: list[Expression]
    tiers: Tiers | None = None
    curriculum: Curriculum | None = None

    @property
    def marks(self) -> list[Mark]:
        """What has values for a record, besides the rules."""
        return [mark for mark in (self.tiers, self.curriculum) if mark]

    @property
    def reads(self) -> list[str]:
        """All tables that are read, but for `records`."""
        scores = (table for mark in self.marks for table in mark.tables)
        ordered = (column.table for order in self.prefer for column in order.columns)
        return sorted({*self.required, *scores, *ordered} - {"records"})


@dataclass(frozen=True)
class SelectionPlan:
    """What is decided, and about which records.

    Attributes:
        uri: The corpus.
        storage_options: For fsspec.
        decisions: The rules and what they need.
        tables: Config hashes of the tables that are read, and of `selection`.
        shards: All image shards, ascending.
        failing: Tables with failures that may pass.
        sample: Share of the records to decide about.
        limits: Shard -> number of records, where fewer than all are asked for.
        root: Where the selection goes.
        placeholders: When one file is no picture of its own; None where no file can be one.
    """

    uri: str
    storage_options: Mapping[str, Any]
    decisions: Decisions
    tables: Mapping[str, str]
    shards: Sequence[int]
    failing: Sequence[str] = ()
    sample: float = 1.0
    limits: Mapping[int, int] | None = None
    root: str = ROOT
    placeholders: PlaceholderSettings | None = None

    def corpus(self) -> Corpus:
        """Opens the corpus."""
        return Corpus(self.uri, self.storage_options)

    def groups(self) -> list[int]:
        """Numbers of the groups of shards; a task decides about one."""
        return sorted({group_of(shard) for shard in self.shards})

    def items(self, groups: Iterable[int]) -> list[Item]:
        """Groups for the runner, which knows them by their first shard."""
        return [Item(self.group(number)[0]) for number in groups]

    def group(self, number: int) -> list[int]:
        """The shards of a group."""
        first = bisect_left(self.shards, number * SHARDS_A_TASK)
        return list(self.shards[first : bisect_left(self.shards, (number + 1) * SHARDS_A_TASK)])

    def selection(self, store: Store) -> Table:
        """The table that is made."""
        return decision_table(store, self.tables[TABLE], self.root)

    def exchanged(self, kind: str, group: int) -> str:
        """Path of a file that one pass leaves for the next."""
        return f"{self.root}/{TABLE}/{self.tables[TABLE]}/{WALK}/{kind}-{group:06d}.arrow"

    def left(self, kind: str, store: Store) -> list[int]:
        """The groups that a pass left a file for."""
        folder, _, name = self.exchanged(kind, 0).rpartition("/")
        begin, end = name.split(f"{0:06d}")
        names = (n for n in store.list(folder) if n.startswith(begin) and n.endswith(end))
        return sorted(int(n.removeprefix(begin).removesuffix(end)) for n in names)

    def partitions(self) -> str:
        """The folder of what a walk by workers needs for itself (`partitioned`)."""
        return f"{self.root}/{TABLE}/{self.tables[TABLE]}/{PARTITIONS}"

    def records(self, corpus: Corpus, shard: int, columns: Sequence[str] = ()) -> pa.Table:
        """A shard's records that are decided about, with what rules read of them, if it has it."""
        # `Records.read` would refuse a column that no part of this shard has.
        columns = list(dict.fromkeys([*RECORD_COLUMNS, *columns, *self._columns("records")]))
        found = Table.read(corpus.records, shard, columns)
        if found is None:
            raise CorpusError(f"shard {shard} has no records")
        gone = corpus.records.superseded(shard)
        found = sample_rows(missing_rows(found, gone) if len(gone) else found, self.sample)
        return found if self.limits is None else found.slice(0, self.limits.get(shard, 0))

    def read(self, corpus: Corpus, shard: int, records: pa.Table) -> Shard:
        """What is known about some records of a shard."""
        tables, failed = {}, {}
        for name in self.decisions.reads:
            table = Table(corpus.store, name, self.tables[name])
            tables[name] = table.read(shard, ["row", "error", *self._columns(name)])
            if name in self.failing:
                failed[name] = _still_failed(table, shard)
        return Shard(records, tables, failed)

    def judge(self, shards: Sequence[Shard]) -> pa.Table:
        """What the rules answer about all records of some shards."""
        decisions = self.decisions
        return judge(
            shards, decisions.rules, decisions.required, decisions.tiers, decisions.curriculum
        )

    def decide(self, answers: pa.Table) -> pa.Table:
        """Each record's state before the walk over duplicates, from the rules' answers.

        With a curriculum, its bucket is there too: a column more.
        """
        decided = decide(answers, self.decisions.rules, self.decisions.required)
        curriculum = self.decisions.curriculum
        if curriculum is None:
            return decided
        return decided.append_column(FIELD, curriculum.buckets(answers))

    def _columns(self, table: str) -> list[str]:
        rules, prefer, marks = self.decisions.rules, self.decisions.prefer, self.decisions.marks
        readers: list[Rule | Expression | Mark] = [*rules, *prefer, *marks]
        columns = (column for reader in readers for column in reader.columns)
        return list(dict.fromkeys(c.name for c in columns if c.table == table))


def group_of(shard: Any) -> Any:
    """The number of the group that a shard is in; or the numbers, of an array of shards."""
    return shard // SHARDS_A_TASK


@contextmanager
def naming(plan: SelectionPlan, group: int) -> Iterator[None]:
    """Says in an error's message which shards a task was about: the runner knows only the first."""
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        shards = plan.group(group)
        raise CorpusError(
            f"shards {shards[0]:06d} to {shards[-1]:06d}: {type(error).__name__}: {error}"
        ) from error


def decision_table(store: Store, config_hash: str, root: str = ROOT) -> Table:
    """Table `selection` under a root."""
    return Table(store, TABLE, config_hash, folder=f"{root}/{TABLE}/{config_hash}")


def _still_failed(table: Table, shard: int) -> pa.Table:
    failed = table.failed.read(shard, ["row", "reason"])
    if failed is None:
        return pa.table({"row": pa.array([], pa.int32()), "reason": pa.array([], pa.string())})
    return missing_rows(failed, table.covered(shard))
