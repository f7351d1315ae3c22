"""What the report shows of the caption checks: rates, and some of what they found.

An attempt that failed a check is not kept, but for its check's name (`faults`); what the last one
said stands in the `detail` of the failure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nucleus_data.corpus.states import KEPT
from nucleus_data.hashing import keyed_sql
from nucleus_data.pages.content import CAPTIONS
from nucleus_data.pages.queries import EXAMPLES, Decision, Tables, quoted

EXAMPLES_A_CHECK = 3


class Condition(Protocol):
    """A check on stored values: its name, its tables and columns, and SQL that finds records."""

    @property
    def name(self) -> str:
        """The check's name."""

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables that have its columns."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns."""

    @property
    def where(self) -> str:
        """SQL, true for what it finds."""


@dataclass(frozen=True)
class Found:
    """What one check found in one variant.

    Attributes:
        check: Its name.
        first: Rows whose first attempt failed it, or, of those without a caption, the last one.
        mended: Those of `first` that have a caption now.
        failed: Rows without a caption for it.
        flagged: Captions that it marks.
    """

    check: str
    first: int
    mended: int
    failed: int
    flagged: int


@dataclass(frozen=True)
class Checked:
    """The checks of one variant.

    Attributes:
        variant: Its name.
        asked: Rows that were asked for, but for those that the engine or the picture failed.
        again: Captions that took more than one attempt.
        found: The checks that found something.
    """

    variant: str
    asked: int
    again: int
    found: Sequence[Found]


def checked_section(
    tables: Tables, plan: Mapping[str, Any], conditions: Sequence[Condition]
) -> dict[str, Any] | None:
    """The rates of each variant, and examples; None while no caption was checked.

    Args:
        tables: The run's.
        plan: The run's, whose configuration names the checks.
        conditions: Checks on stored values.
    """
    known = _known(plan)
    variants, examples = [], []
    for name in tables.names(CAPTIONS):
        if not {"checks", "faults"} <= set(tables.columns(name)):
            continue
        variant = name.removeprefix(CAPTIONS)
        checked = _checked(tables, name, known)
        variants.append(checked)
        examples += [
            (variant, found.check, shown)
            for found in checked.found
            if (shown := _examples(tables, name, found.check))
        ]
    if not variants:
        return None
    return {
        "variants": variants,
        "groups": examples,
        "on_tables": [
            (each.name, each.where, _count(tables, each))
            for each in conditions
            if _there(tables, each)
        ],
        "examples": [decision for _, _, shown in examples for decision, _ in shown],
    }


def _known(plan: Mapping[str, Any]) -> frozenset[str]:
    """Names of the checks, as the run's configuration has them."""
    caption = (plan.get("config") or {}).get("caption") or {}
    return frozenset(caption.get("checks") or ())


def _checked(tables: Tables, name: str, known: frozenset[str]) -> Checked:
    rows = tables.sql(name)
    (counts,) = tables.rows(
        f"""select count(*) filter (error is null),
                   count(*) filter (error is null and len(faults) > 0) from {rows}"""
    )
    captions, again = counts
    mended = dict(
        tables.rows(
            f"select faults[1], count(*) from {rows} where error is null and len(faults) > 0"
            " group by 1"
        )
    )
    flagged = dict(
        tables.rows(f"select f, count(*) from (select unnest(flags) as f from {rows}) group by 1")
    )
    failed = dict(
        tables.rows(
            f"select error, count(*) from {tables.failures(name)} "
            f"where error in ({', '.join(map(quoted, sorted(known))) or 'null'}) group by 1"
        )
    )
    found = [
        Found(
            check,
            mended.get(check, 0) + failed.get(check, 0),
            mended.get(check, 0),
            failed.get(check, 0),
            flagged.get(check, 0),
        )
        for check in sorted({*mended, *flagged, *failed})
    ]
    variant = name.removeprefix(CAPTIONS)
    return Checked(variant, captions + sum(failed.values()), again, found)


def _examples(tables: Tables, name: str, check: str) -> list[tuple[Decision, str]]:
    """Some of what a check found: failures with what was said, and captions that it marks."""
    chosen = tables.rows(
        f"""select shard, row, id, said from (
                select shard, row, id, detail as said from {tables.failures(name)}
                where error = {quoted(check)}
                union all
                select shard, row, id, caption as said from {tables.sql(name)}
                where list_contains(flags, {quoted(check)}))
            order by {keyed_sql(EXAMPLES, "id")}, id limit {EXAMPLES_A_CHECK}"""
    )
    return [
        (Decision(shard, row, key, KEPT, [], {}, None, retryable=False), said or "")
        for shard, row, key, said in chosen
    ]


def _there(tables: Tables, condition: Condition) -> bool:
    """Whether the tables have what a condition asks about."""
    if not all(table in tables for table in condition.tables):
        return False
    columns = {column for table in condition.tables for column in tables.columns(table)}
    return set(condition.columns) <= columns


def _count(tables: Tables, condition: Condition) -> int:
    """How many records a condition finds."""
    first, *others = (tables.sql(table) for table in condition.tables)
    joined = first + "".join(f" join {other} using (shard, row)" for other in others)
    ((count,),) = tables.rows(f"select count(*) from {joined} where {condition.where}")
    return int(count)
