"""Counts kept records for the constants of curriculum buckets, in tasks on groups of image shards.

Each task writes its counts to a small file in the run's folder, as the tasks of a what-if do.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.states import KEPT
from nucleus_data.errors import CorpusError
from nucleus_data.runner.work import Summary
from nucleus_data.stages.select.fit import Sketch, decoded, encoded, sketched
from nucleus_data.stages.select.plan import SelectionPlan, decision_table, group_of, naming


@dataclass(frozen=True)
class FitTask:
    """Counts the kept records of a group of shards by tier and size (a task of the runner).

    Attributes:
        plan: A plan with tiers and a curriculum but without rules; its root is a folder of the run.
        selection: Config hash of the selection.
    """

    plan: SelectionPlan
    selection: str

    def run(self, number: int) -> Summary:
        """Writes the group's counts; `number` is any shard of the group."""
        group = group_of(number)
        with naming(self.plan, group):
            corpus = self.plan.corpus()
            sketch, summary = Sketch(), Summary()
            for shard in self.plan.group(group):
                records = self.plan.records(corpus, shard)
                if not records.num_rows:
                    continue
                answers = self.plan.judge([self.plan.read(corpus, shard, records)])
                kept = self._kept(corpus, shard, answers)
                tier, size = (kept.column(name) for name in ("tier", "size"))
                both = pc.and_(pc.is_valid(tier), pc.is_valid(size))
                placed = kept.filter(both)
                sketch += sketched(
                    placed.column("tier").to_numpy(), placed.column("size").to_numpy()
                )
                summary.rows += kept.num_rows
                summary.done += placed.num_rows
            corpus.store.put(_part_name(self.plan, group), encoded(sketch))
            return summary

    def _kept(self, corpus: Corpus, shard: int, answers: pa.Table) -> pa.Table:
        """Returns the answers about kept records."""
        table = decision_table(corpus.store, self.selection)
        decided = table.read(shard, ["row", "state"])
        if decided is None or not np.array_equal(
            decided.column("row").to_numpy(), answers.column("row").to_numpy()
        ):
            raise CorpusError("the selection does not match the records of the corpus")
        return answers.filter(pc.equal(decided.column("state"), KEPT))


def gathered(corpus: Corpus, plan: SelectionPlan, groups: Iterable[int]) -> Sketch:
    """Adds up the counts of all tasks, and removes their files."""
    whole = Sketch()

    def taken(group: int) -> bytes:
        name = _part_name(plan, group)
        content = corpus.store.read(name)
        corpus.store.remove(name)
        return content

    for content in at_once(corpus.store, taken, groups):
        whole += decoded(content)
    return whole


def _part_name(plan: SelectionPlan, group: int) -> str:
    """Returns the path of a group's counts."""
    return f"{plan.root}/{group:06d}.json"
