"""The plan of a selection: the rules with what they need, and the shards of each task.

The passes of `select` exchange files in the folder `_walk/` beside the table, one for each group of
shards:

| file | rows |
|---|---|
| `members` | the records in a pair |
| `told` | where these come from |
| `kept` | those of them that the rules keep, with the columns that the order of preference reads |
| `answers` | the answers of the rules; removed once the ledger is written |
| `placeholders` | the records that are placeholders |
| `dropped` | the records that are dropped as duplicates, with the survivor |

Their rows do not depend on how often they are written, nor on the number of partitions of the walk.
The walk's own temporary files are in `_partitions/`. The selection is stored under `tables/`; that
of a what-if under its run.
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
from nucleus_data.stages.dedup.settings import DedupSettings
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
# Shards in a group. Files in `_walk` depend on it, so a change needs another `stage.VERSION`.
SHARDS_A_TASK = 16
RECORD_COLUMNS = ("shard", "row", "id", "error", "retryable")


class Decisions(NamedTuple):
    """The checked settings of a selection.

    Attributes:
        rules: Checked rules.
        required: Tables that must have a record's row, or else it is pending.
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
        """The tiers and the curriculum, if there are any."""
        return [mark for mark in (self.tiers, self.curriculum) if mark]

    @property
    def reads(self) -> list[str]:
        """All tables that are read, except `records`."""
        scores = (table for mark in self.marks for table in mark.tables)
        ordered = (column.table for order in self.prefer for column in order.columns)
        return sorted({*self.required, *scores, *ordered} - {"records"})


@dataclass(frozen=True)
class SelectionPlan:
    """How records are decided about, and which ones; sent to the tasks.

    Attributes:
        uri: Path or URL of the corpus.
        storage_options: Options for fsspec.
        decisions: The checked settings.
        tables: Table name -> config hash, of the tables that are read and of `selection`.
        shards: All image shards, ascending.
        failing: Names of tables with retryable failures.
        sample: Share of the records to decide about, 0 to 1.
        limits: Shard -> number of records to decide about; None for all.
        root: Folder that the selection is stored under.
        placeholders: When a file is a placeholder; None if no file can be one.
        dedup: Settings that the pairs were found with; the defaults if None.
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
    dedup: DedupSettings | None = None

    def corpus(self) -> Corpus:
        """Opens the corpus."""
        return Corpus(self.uri, self.storage_options)

    def groups(self) -> list[int]:
        """Returns the numbers of the groups of shards; a task decides about one group."""
        return sorted({group_of(shard) for shard in self.shards})

    def items(self, groups: Iterable[int]) -> list[Item]:
        """Returns groups as items for the runner, which are identified by their first shard."""
        return [Item(self.group(number)[0]) for number in groups]

    def group(self, number: int) -> list[int]:
        """Returns the shards of a group, ascending."""
        first = bisect_left(self.shards, number * SHARDS_A_TASK)
        return list(self.shards[first : bisect_left(self.shards, (number + 1) * SHARDS_A_TASK)])

    def selection(self, store: Store) -> Table:
        """Returns the table that is written."""
        return decision_table(store, self.tables[TABLE], self.root)

    def exchanged(self, kind: str, group: int) -> str:
        """Returns the path of a file that a pass writes for a later one."""
        return f"{self.root}/{TABLE}/{self.tables[TABLE]}/{WALK}/{kind}-{group:06d}.arrow"

    def left(self, kind: str, store: Store) -> list[int]:
        """Returns the groups for which a pass has written a file of this kind."""
        folder, _, name = self.exchanged(kind, 0).rpartition("/")
        begin, end = name.split(f"{0:06d}")
        names = (n for n in store.list(folder) if n.startswith(begin) and n.endswith(end))
        return sorted(int(n.removeprefix(begin).removesuffix(end)) for n in names)

    def partitions(self) -> str:
        """Returns the folder of the temporary files of a walk by workers (`partitioned`)."""
        return f"{self.root}/{TABLE}/{self.tables[TABLE]}/{PARTITIONS}"

    def records(self, corpus: Corpus, shard: int, columns: Sequence[str] = ()) -> pa.Table:
        """Reads the records of a shard that are decided about.

        Args:
            corpus: The corpus.
            shard: The image shard.
            columns: Columns to read besides those that decisions need. Columns that no part of the
                shard has are left out.

        Raises:
            CorpusError: The shard has no records.
        """
        # Not `Records.read`: it refuses columns that no part of the shard has.
        columns = list(dict.fromkeys([*RECORD_COLUMNS, *columns, *self._columns("records")]))
        rows = Table.read(corpus.records, shard, columns)
        if rows is None:
            raise CorpusError(f"shard {shard} has no records")
        gone = corpus.records.superseded(shard)
        rows = sample_rows(missing_rows(rows, gone) if len(gone) else rows, self.sample)
        return rows if self.limits is None else rows.slice(0, self.limits.get(shard, 0))

    def read(self, corpus: Corpus, shard: int, records: pa.Table) -> Shard:
        """Reads the tables of a shard that decisions need.

        Args:
            corpus: The corpus.
            shard: The image shard.
            records: Its records, from the method `records`.
        """
        tables, failed = {}, {}
        for name in self.decisions.reads:
            table = Table(corpus.store, name, self.tables[name])
            tables[name] = table.read(shard, ["row", "error", *self._columns(name)])
            if name in self.failing:
                failed[name] = _still_failed(table, shard)
        return Shard(records, tables, failed)

    def judge(self, shards: Sequence[Shard]) -> pa.Table:
        """Evaluates the rules on all records of some shards; see `judge.judge`."""
        decisions = self.decisions
        return judge(
            shards, decisions.rules, decisions.required, decisions.tiers, decisions.curriculum
        )

    def decide(self, answers: pa.Table) -> pa.Table:
        """Returns each record's state before the walk over duplicates, from the rules' answers.

        With a curriculum, there is one more column, for the record's bucket.
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
    """Returns the number of the group that a shard is in; works on arrays of shards, too."""
    return shard // SHARDS_A_TASK


@contextmanager
def naming(plan: SelectionPlan, group: int) -> Iterator[None]:
    """Adds a group's shards to the message of an error; the runner knows only the first of them."""
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
    """Returns the table `selection` with a config hash, stored under a root folder."""
    return Table(store, TABLE, config_hash, folder=f"{root}/{TABLE}/{config_hash}")


def _still_failed(table: Table, shard: int) -> pa.Table:
    failed = table.failed.read(shard, ["row", "reason"])
    if failed is None:
        return pa.table({"row": pa.array([], pa.int32()), "reason": pa.array([], pa.string())})
    return missing_rows(failed, table.covered(shard))
