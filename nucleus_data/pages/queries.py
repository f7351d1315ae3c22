"""What the report asks of a run's tables, in SQL; DuckDB counts, and only what is shown comes back.

All of it is asked some image shards at a time (`tables.Tables.each`), and the answers are added.
Examples are chosen by a keyed hash of the record id, so that the same tables always give the same
page.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nucleus_data.hashing import keyed_sql
from nucleus_data.pages.survivors import EXAMPLES, without_survivor
from nucleus_data.pages.tables import RECORDS, Rows, Tables


@dataclass(frozen=True)
class Ledger:
    """The sums of the selection, each counted on its own so that a mistake shows.

    Attributes:
        records: Rows of `records`.
        with_image: Rows of `records` that have an image.
        states: State -> rows of the selection.
        undecided: Records without a row in the selection.
        doubled: Records with more than one row in the selection.
        orphans: Rows of the selection without a record.
        without_survivor: Duplicates that name no kept record.
    """

    records: int
    with_image: int
    states: Mapping[str, int]
    undecided: int
    doubled: int = 0
    orphans: int = 0
    without_survivor: int = 0

    @property
    def adds_up(self) -> bool:
        """Whether each record is in one state, or openly undecided; the page says if not."""
        whole = self.records == sum(self.states.values()) + self.undecided
        return whole and not (self.doubled or self.orphans)


@dataclass(frozen=True)
class Reason:
    """Why records were rejected or failed.

    Attributes:
        state: `rejected` or `failed`.
        name: The rule's name, or the failure's code.
        condition: The rule's SQL; None for failures.
        count: Records with this reason.
        alone: Records with this reason and no other.
        retryable: Records that `nucleus retry` would try again.
    """

    state: str
    name: str
    condition: str | None
    count: int
    alone: int
    retryable: int


@dataclass(frozen=True)
class Decision:
    """One row of the selection."""

    shard: int
    row: int
    id: str
    state: str
    reasons: Sequence[str]
    values: Mapping[str, Any]
    duplicate_of: str | None
    retryable: bool


@dataclass(frozen=True)
class Record:
    """One row of `records`: what is needed to show it."""

    shard: int
    row: int
    id: str
    key: str
    file: str | None
    offset: int
    size: int
    sha256: str
    detail: str | None
    caption: str | None


DECISION = 'shard, row, id, state, reasons, "values", duplicate_of, retryable'


def ledger(tables: Tables) -> Ledger:
    """Counts records and decisions, and looks for what must not be."""
    sums, states = Counter[str](), Counter[str]()
    for found, mine in tables.each(_ledger):
        sums.update(found)
        states.update(mine)
    decided = "selection" in tables and RECORDS in tables
    return Ledger(
        records=sums["records"],
        with_image=sums["with_image"],
        states=dict(sorted(states.items())),
        undecided=sums["undecided"],
        doubled=sums["doubled"],
        orphans=sums["orphans"],
        without_survivor=without_survivor(tables) if decided else 0,
    )


def _ledger(tables: Tables) -> tuple[dict[str, int], dict[str, int]]:
    """The sums of some shards, and how many decisions of each state they have."""
    records, with_image = 0, 0
    if RECORDS in tables:
        ((records, with_image),) = tables.rows(
            f"select count(*), count(file) from {tables.sql(RECORDS)}"
        )
    found = {"records": records, "with_image": with_image}
    if "selection" not in tables:
        return found | {"undecided": records}, {}
    selection = tables.sql("selection")
    states = dict(tables.rows(f"select state, count(*) from {selection} group by 1 order by 1"))
    if RECORDS not in tables:
        return found | {"orphans": sum(states.values())}, states
    known = tables.sql(RECORDS)
    same = "on r.shard = s.shard and r.row = s.row"
    ((undecided,),) = tables.rows(f"select count(*) from {known} r anti join {selection} s {same}")
    ((orphans,),) = tables.rows(f"select count(*) from {selection} s anti join {known} r {same}")
    ((doubled,),) = tables.rows(
        f"select count(*) from (select 1 from {selection} group by shard, row having count(*) > 1)"
    )
    return found | {"undecided": undecided, "orphans": orphans, "doubled": doubled}, states


def reasons(tables: Tables) -> list[Reason]:
    """Rejected and failed records by reason; a record counts once in each of its reasons."""
    conditions: dict[tuple[str, str], str] = {}
    counts: dict[tuple[str, str], Counter[str]] = {}
    for rows in tables.each(_reasons):
        for state, name, condition, count, alone, again in rows:
            key = (state, name)
            if condition is not None:
                conditions[key] = min(condition, conditions.get(key, condition))
            more = {"count": count, "alone": alone, "retryable": again}
            counts.setdefault(key, Counter()).update(more)
    names = ("count", "alone", "retryable")
    found = [
        Reason(state, name, conditions.get((state, name)), *(sums[n] for n in names))
        for (state, name), sums in counts.items()
    ]
    found.sort(key=lambda reason: (-reason.count, reason.name))
    return sorted(found, key=lambda reason: reason.state, reverse=True)


def _reasons(tables: Tables) -> Rows:
    if "selection" not in tables:
        return []
    return [
        *tables.rows(
            f"""with fired as (
              select state, len(reasons) as n, retryable,
                     unnest(reasons) as reason, unnest(conditions) as condition
              from {tables.sql("selection")} where state in ('rejected', 'failed'))
            select state, reason, min(condition), count(*), count(*) filter (n = 1),
                   count(*) filter (retryable)
            from fired where reason is not null group by state, reason"""
        )
    ]


def listed(tables: Tables, column: str, condition: str = "true") -> list[tuple[str, int]]:
    """How often each item of a list column (`flags`, `nulls`, `pending_on`) occurs."""
    sql = "select item, count(*) from (select unnest({}) as item from {} where {}) group by 1"
    counts = _counted(tables, sql.format(column, "{}", condition))
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def tiers(tables: Tables) -> list[tuple[str, int]]:
    """Kept records by quality tier, the best first; none if no record has one."""
    sql = "select tier, count(*) from {} where state = 'kept' group by 1"
    counts = _counted(tables, sql, "tier")
    if not any(counts):
        return []
    found = sorted(counts, key=lambda tier: tier or "", reverse=True)
    return [(tier or "none", counts[tier]) for tier in found]


def _counted(tables: Tables, sql: str, column: str = "state") -> Counter[Any]:
    """Counts of the selection by a value, where it has a column."""
    counts: Counter[Any] = Counter()
    for rows in tables.each(_selected, sql, column):
        counts.update(dict(rows))
    return counts


def _selected(tables: Tables, sql: str, column: str) -> Rows:
    """What is asked of the decisions of some shards, if they have a column."""
    if "selection" not in tables or column not in tables.columns("selection"):
        return []
    return [*tables.rows(sql.format(tables.sql("selection")))]


def examples(tables: Tables, state: str, reason: str | None, limit: int) -> list[Decision]:
    """Some decisions of a state (and reason), chosen by a keyed hash of the id."""
    return examples_of(tables, [in_state(state, reason)], limit)[0]


def in_state(state: str, reason: str | None = None) -> str:
    """SQL: whether a decision is in a state, for a reason."""
    with_reason = "" if reason is None else f" and list_contains(reasons, {quoted(reason)})"
    return f"state = {quoted(state)}{with_reason}"


def examples_of(tables: Tables, conditions: Sequence[str], limit: int) -> list[list[Decision]]:
    """Of each condition some decisions that it is true of, chosen by a keyed hash of the id."""
    found: list[Rows] = [[] for _ in conditions]
    for answers in tables.each(_examples, conditions, limit):
        found = [first([*rows, *more], limit) for rows, more in zip(found, answers, strict=True)]
    return [[decision(tuple(row[1:])) for row in rows] for rows in found]


def _examples(tables: Tables, conditions: Sequence[str], limit: int) -> list[Rows]:
    if "selection" not in tables:
        return [[] for _ in conditions]
    order = keyed_sql(EXAMPLES, "id")
    return [
        [
            *tables.rows(
                f"select {order} as hash, {DECISION} from {tables.sql('selection')} "
                f"where {condition} order by hash, id limit ?",
                [limit],
            )
        ]
        for condition in conditions
    ]


def first(rows: Rows, limit: int) -> Rows:
    """The first rows by what they begin with: a keyed hash, then shard, row and id."""
    return sorted(rows, key=lambda row: (row[0], row[3]))[:limit]


def records(tables: Tables, wanted: Iterable[tuple[int, int]]) -> dict[str, Record]:
    """The records at these places (shard, row), by id."""
    places = sorted(set(wanted))
    shards = sorted({shard for shard, _ in places})
    tables = tables.near(shards, RECORDS)
    if RECORDS not in tables:
        return {}
    caption = "null"
    if "source.caption" in tables.columns(RECORDS):
        caption = 'cast("source.caption" as varchar)'
    found = tables.rows(
        f'select shard, row, id, key, file, "offset", size, sha256, detail, {caption} '
        f"from {tables.sql(RECORDS)} where shard in {marks(shards)} "
        f"and (shard, row) in ({', '.join('(?, ?)' for _ in places)})",
        [*shards, *(number for place in places for number in place)],
    )
    return {row[2]: Record(*row) for row in found}


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def marks(items: Iterable[Any]) -> str:
    """SQL of a list of parameters."""
    return "(" + ", ".join("?" for _ in items) + ")"


def decision(row: tuple[Any, ...]) -> Decision:
    """A row of a selection, with the columns of `DECISION`."""
    shard, number, key, state, why, values, duplicate_of, retryable = row
    parsed = json.loads(values) if values else {}
    return Decision(
        shard, number, key, state, why or [], parsed or {}, duplicate_of, bool(retryable)
    )
