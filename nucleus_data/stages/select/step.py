"""Deciding as a step of a run: what a selection depends on, and how it is made."""

import time
from collections.abc import Callable, Mapping

from nucleus_data.hashing import config_hash
from nucleus_data.line.check import check_decisions
from nucleus_data.runner.loop import StageReport, Task
from nucleus_data.runner.run import Run
from nucleus_data.stages.dedup.gather import READS
from nucleus_data.stages.select.stage import (
    ROOT,
    Decisions,
    JudgeTask,
    LedgerTask,
    Plan,
    read_pairs,
    walk_duplicates,
    write_members,
)
from nucleus_data.stages.shard import plan as planning
from nucleus_data.views.pairs import pin_dedup, shard_limits

SELECT_VERSION = 2
STATES = ("kept", "rejected", "duplicate", "failed", "pending")


def pin_selection(run: Run) -> Decisions:
    """Checks the rules, and sets the config hash of `selection` (and `dedup`).

    Raises:
        RequestError: A rule is wrong, or reads what no table has.
    """
    settings = run.recipe.select
    rules, prefer, tiers = check_decisions(run.recipe, planning.upstream_columns(run.corpus))
    required = {"inspect.file", *(t for r in rules for t in r.tables if t != "records")}
    if settings.drop_duplicates:
        pin_dedup(run)
        required |= {*READS[run.recipe.dedup.hashes], *(column.table for column in prefer)}
    decisions = Decisions(rules, sorted(required), prefer, tiers)
    inputs = {name: run.tables[name] for name in decisions.reads}
    identity = {
        "table": "selection",
        "version": SELECT_VERSION,
        "rules": [[n, r.model_dump(mode="json")] for n, r in settings.rules.items()],
        "tiers": settings.tiers.model_dump(mode="json") if tiers else None,
        "dedup": run.tables["dedup"] if settings.drop_duplicates else None,
        "prefer": list(settings.prefer),
        "inputs": inputs,
        "parts": run.corpus.parts_hash({"records": run.tables["records"], **inputs}),
        "limit": run.limit,
        "sample": run.sample,
    }
    run.tables["selection"] = config_hash(identity)
    return decisions


def decide_all(
    run: Run,
    planned: Run,
    decisions: Decisions,
    root: str = ROOT,
    ledger: Callable[[Plan], Task] = LedgerTask,
) -> StageReport:
    """Decides about all records, some shards at a time, checks the sums, and notes the work.

    Args:
        run: Does the work.
        planned: Whose recipe and tables the decisions are of; `run` itself, but for a what-if.
        decisions: From `pin_selection(planned)`.
        root: The folder that what is written goes under.
        ledger: What is done with the decisions about a group of shards.

    Returns:
        The counts; if shards failed, the decisions are not complete.
    """
    start = time.perf_counter()
    corpus, recipe, tables = run.corpus, planned.recipe, planned.tables
    plan = Plan(
        recipe.corpus,
        recipe.storage_options,
        decisions,
        tables,
        corpus.shards(),
        [n for n in decisions.reads if corpus.at(n, tables[n]).failed.part_names()],
        planned.sample,
        shard_limits(planned),
        root,
    )
    report, dropped = StageReport("select"), 0
    pairs = read_pairs(corpus, tables["dedup"]) if recipe.select.drop_duplicates else None
    if pairs is not None:
        groups = write_members(plan, corpus, pairs)
        report = run.loop("select", JudgeTask(plan), plan.items(groups), len(groups), keep=False)
        if not report.failed:
            dropped = walk_duplicates(plan, corpus, pairs, groups, recipe.select.prefer)
    if not report.failed:
        groups = plan.groups()
        report = run.loop("select", ledger(plan), plan.items(groups), len(groups), keep=False)
    # A what-if's counts are not to be taken for those of a selection.
    report.stage = "select" if planned is run else run.command
    report.seconds = time.perf_counter() - start
    report.shards = len(plan.shards) if not report.failed else report.shards
    run.keep(report, quiet=True)
    if not report.failed:
        states = {state: report.summary.extra.get(state, 0) for state in STATES}
        check_sums(report.summary.rows, states, dropped)
    return report


def check_sums(records: int, states: Mapping[str, int], dropped: int) -> None:
    """AssertionError unless every record is in one state, those the walk dropped in theirs."""
    if sum(states.values()) != records or states["duplicate"] != dropped:
        raise AssertionError(
            f"the ledger does not add up: {records} records, states {dict(states)}, "
            f"{dropped} dropped by the walk"
        )
