"""The report's section about the caption checks: rates, and examples of what they found.

Of an attempt that failed a check, only the check's name is stored (in `faults`). If all attempts
failed, the text of the last one is in the `detail` of the failure.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nucleus_data.corpus.states import KEPT
from nucleus_data.hashing import keyed_sql
from nucleus_data.pages.content import CAPTIONS
from nucleus_data.pages.queries import Decision, first
from nucleus_data.pages.survivors import EXAMPLES
from nucleus_data.pages.tables import Rows, Tables
from nucleus_data.sql import literal

EXAMPLES_A_CHECK = 3
KINDS = ("counts", "mended", "flagged", "failed")  # kinds of sums


class Condition(Protocol):
    """A check on stored values: a name, tables and columns, and SQL that finds records."""

    @property
    def name(self) -> str:
        """The check's name."""

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that it reads."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""

    @property
    def where(self) -> str:
        """SQL condition that is true of the records that it finds."""


@dataclass(frozen=True)
class Found:
    """The results of one check on one variant; all are numbers of rows.

    Attributes:
        check: The check's name.
        first: Rows whose first attempt failed the check; for rows without a caption, the last one.
        mended: Rows of `first` that have a caption from a later attempt.
        failed: Rows that have no caption because of the check.
        flagged: Captions that the check flags.
    """

    check: str
    first: int
    mended: int
    failed: int
    flagged: int


@dataclass(frozen=True)
class Checked:
    """The results of all checks on one variant.

    Attributes:
        variant: The variant's name.
        asked: Number of rows, without failures of the engine or the picture.
        again: Number of captions that took more than one attempt.
        found: The checks that found something.
    """

    variant: str
    asked: int
    again: int
    found: Sequence[Found]


def checked_section(
    tables: Tables, plan: Mapping[str, Any], conditions: Sequence[Condition]
) -> dict[str, Any] | None:
    """Returns the rates of each variant, and examples; None if no captions were checked.

    Args:
        tables: The run's tables.
        plan: The run's plan; its configuration has the checks.
        conditions: Checks on stored values.
    """
    known = _known(plan)
    sums: dict[str, dict[str, Counter[str]]] = {}
    counts: list[int | None] = [None] * len(conditions)
    for by_table, on_tables in tables.each(_found, known, conditions):
        for name, kinds in by_table.items():
            totals = sums.setdefault(name, {kind: Counter() for kind in KINDS})
            for kind, more in kinds.items():
                totals[kind].update(more)
        counts = [
            old if new is None else (old or 0) + new
            for old, new in zip(counts, on_tables, strict=True)
        ]
    if not sums:
        return None
    variants = [_checked(name, sums[name]) for name in sorted(sums)]
    asked = [(each.variant, found.check) for each in variants for found in each.found]
    shown: list[Rows] = [[] for _ in asked]
    for answers in tables.each(_examples, asked) if asked else ():
        shown = [
            first([*rows, *more], EXAMPLES_A_CHECK)
            for rows, more in zip(shown, answers, strict=True)
        ]
    examples = [
        (*place, [_example(row) for row in rows])
        for place, rows in zip(asked, shown, strict=True)
        if rows
    ]
    return {
        "variants": variants,
        "groups": examples,
        "on_tables": [
            (each.name, each.where, count)
            for each, count in zip(conditions, counts, strict=True)
            if count is not None
        ],
        "examples": [decision for _, _, said in examples for decision, _ in said],
    }


def _known(plan: Mapping[str, Any]) -> list[str]:
    """Returns the names of the checks in the run's configuration."""
    caption = (plan.get("config") or {}).get("caption") or {}
    return sorted(caption.get("checks") or ())


def _found(
    tables: Tables, known: Sequence[str], conditions: Sequence[Condition]
) -> tuple[dict[str, dict[str, dict[str, int]]], list[int | None]]:
    """Returns for some shards the sums of each caption table, and the count of each condition."""
    sums = {}
    for name in tables.tried(CAPTIONS):
        if name not in tables:
            # All rows failed, because of a check or the engine.
            if failed := _failed(tables, name, known):
                sums[name] = {**{kind: {} for kind in KINDS}, "failed": failed}
        elif {"checks", "faults"} <= set(tables.columns(name)):
            sums[name] = _sums(tables, name, known)
    counts = [_count(tables, each) if _there(tables, each) else None for each in conditions]
    return sums, counts


def _sums(tables: Tables, name: str, known: Sequence[str]) -> dict[str, dict[str, int]]:
    """Returns kind of sum (see `KINDS`) -> its counts, of a caption table over some shards."""
    rows = tables.sql(name)
    ((captions, again),) = tables.rows(
        f"""select count(*) filter (error is null),
                   count(*) filter (error is null and len(faults) > 0) from {rows}"""
    )
    mended = tables.rows(
        f"select faults[1], count(*) from {rows} where error is null and len(faults) > 0 group by 1"
    )
    flagged = tables.rows(
        f"select f, count(*) from (select unnest(flags) as f from {rows} where error is null) "
        "group by 1"
    )
    counts = {"captions": captions, "again": again}
    failed = _failed(tables, name, known)
    return dict(zip(KINDS, (counts, dict(mended), dict(flagged), failed), strict=True))


def _failed(tables: Tables, name: str, known: Sequence[str]) -> dict[str, int]:
    """Returns check -> number of records that have no caption because of it."""
    return dict(
        tables.rows(
            f"select error, count(*) from {tables.failures(name)} "
            f"where error in ({', '.join(map(literal, known)) or 'null'}) group by 1"
        )
    )


def _checked(name: str, sums: Mapping[str, Counter[str]]) -> Checked:
    counts, mended, flagged, failed = (sums[kind] for kind in KINDS)
    found = [
        Found(check, mended[check] + failed[check], mended[check], failed[check], flagged[check])
        for check in sorted({*mended, *flagged, *failed})
    ]
    variant = name.removeprefix(CAPTIONS)
    return Checked(variant, counts["captions"] + sum(failed.values()), counts["again"], found)


def _examples(tables: Tables, asked: Sequence[tuple[str, str]]) -> list[Rows]:
    """Returns examples for each check: failures with their last text, and flagged captions."""
    return [_said(tables, f"{CAPTIONS}{variant}", check) for variant, check in asked]


def _said(tables: Tables, name: str, check: str) -> Rows:
    """Returns the hash, shard, row, id and text of each example of a check."""
    sources = [
        f"select shard, row, id, detail as said from {tables.failures(name)} "
        f"where error = {literal(check)}"
    ]
    if name in tables:
        sources.append(
            f"select shard, row, id, caption as said from {tables.sql(name)} "
            f"where error is null and list_contains(flags, {literal(check)})"
        )
    return [
        *tables.rows(
            f"select {keyed_sql(EXAMPLES, 'id')} as hash, shard, row, id, said "
            f"from ({' union all '.join(sources)}) order by hash, id limit {EXAMPLES_A_CHECK}"
        )
    ]


def _example(row: Sequence[Any]) -> tuple[Decision, str]:
    _, shard, number, key, said = row
    return Decision(shard, number, key, KEPT, [], {}, None, retryable=False), said or ""


def _there(tables: Tables, condition: Condition) -> bool:
    """Returns whether the tables have the columns that a condition reads."""
    if not all(table in tables for table in condition.tables):
        return False
    columns = {column for table in condition.tables for column in tables.columns(table)}
    return set(condition.columns) <= columns


def _count(tables: Tables, condition: Condition) -> int:
    """Counts the records that a condition finds."""
    first, *others = (tables.sql(table) for table in condition.tables)
    joined = first + "".join(f" join {other} using (shard, row)" for other in others)
    ((count,),) = tables.rows(f"select count(*) from {joined} where {condition.where}")
    return int(count)
