"""What-if: decides with other rules and compares with an existing selection, without a new table.

Each task writes its part of the comparison to a small file in the run's folder.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.runner.work import Summary
from nucleus_data.stages.select.compare import Comparison, compare_shard
from nucleus_data.stages.select.ledger import counts_of, decide_finally
from nucleus_data.stages.select.plan import SelectionPlan, decision_table, group_of, naming


@dataclass(frozen=True)
class WhatIfTask:
    """Decides about a group of shards and compares the result (a task of the runner).

    Attributes:
        plan: The plan of the hypothetical selection; its root is a folder of the run.
        before: Config hash of the existing selection to compare with.
        examples: Most examples of each group.
    """

    plan: SelectionPlan
    before: str
    examples: int

    def run(self, number: int) -> Summary:
        """Writes the group's part of the comparison; `number` is any shard of the group."""
        group = group_of(number)
        with naming(self.plan, group):
            corpus = self.plan.corpus()
            before = decision_table(corpus.store, self.before)
            shards = self.plan.group(group)
            records = {n: self.plan.records(corpus, n, ["source"]) for n in shards}
            made = decide_finally(self.plan, corpus, group, records)
            comparison = Comparison()
            for shard, after in made.items():
                was = before.read(shard)
                part = compare_shard(shard, was, after, records[shard], self.examples)
                comparison.add(part, self.examples)
            corpus.store.put(part_name(self.plan, group), comparison.encode())
            whole = pa.concat_tables(made.values())
            return Summary(rows=whole.num_rows, done=whole.num_rows, extra=counts_of(whole))


def part_name(plan: SelectionPlan, group: int) -> str:
    """Returns the path of a group's part of the comparison."""
    return f"{plan.root}/{group:06d}.json"


def gather(corpus: Corpus, plan: SelectionPlan, groups: Iterable[int], examples: int) -> Comparison:
    """Reads and adds up the parts of a comparison.

    Args:
        corpus: The corpus.
        plan: The plan of the hypothetical selection.
        groups: The groups of shards that were compared.
        examples: Most examples of each group.
    """
    whole = Comparison()
    names = (part_name(plan, group) for group in groups)
    for part in at_once(corpus.store, corpus.store.read, names):
        whole.add(Comparison.decode(part), examples)
    return whole
