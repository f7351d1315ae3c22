"""The report's queries about a run's tables; DuckDB counts, and returns only what is shown.

Each query runs on some image shards at a time (`tables.Tables.each`), and the answers are added up.
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
from nucleus_data.sql import literal


@dataclass(frozen=True)
class Ledger:
    """The sums of the selection, each counted independently, so that a mistake becomes visible.

    Attributes:
        records: Number of rows of `records`.
        with_image: Number of rows of `records` that have an image.
        states: State -> number of rows of the selection.
        undecided: Number of records without a row in the selection.
        doubled: Number of records with more than one row in the selection.
        orphans: Number of rows of the selection without a record.
        without_survivor: Number of duplicates whose survivor is not a kept record.
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
        """Whether each record is in exactly one state or undecided; if not, the page says so."""
        whole = self.records == sum(self.states.values()) + self.undecided
        return whole and not (self.doubled or self.orphans)


@dataclass(frozen=True)
class Reason:
    """A reason why records were rejected or failed.

    Attributes:
        state: `rejected` or `failed`.
        name: The rule's name, or the failure's reason code.
        condition: The rule's SQL; None for failures.
        count: Number of records with this reason.
        alone: Number of records with this reason and no other.
        retryable: Number of records that `nucleus retry` would process again.
    """

    state: str
    name: str
    condition: str | None
    count: int
    alone: int
    retryable: int


@dataclass(frozen=True)
class Decision:
    """A row of the selection."""

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
    """A row of `records`, with the columns that are needed to show it."""

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
    """Counts records and decisions, and inconsistencies between them."""
    sums, states = Counter[str](), Counter[str]()
    for counts, by_state in tables.each(_ledger):
        sums.update(counts)
        states.update(by_state)
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
    """Returns the sums of some shards, and state -> number of decisions."""
    records, with_image = 0, 0
    if RECORDS in tables:
        ((records, with_image),) = tables.rows(
            f"select count(*), count(file) from {tables.sql(RECORDS)}"
        )
    counts = {"records": records, "with_image": with_image}
    if "selection" not in tables:
        return counts | {"undecided": records}, {}
    selection = tables.sql("selection")
    states = dict(tables.rows(f"select state, count(*) from {selection} group by 1 order by 1"))
    if RECORDS not in tables:
        return counts | {"orphans": sum(states.values())}, states
    known = tables.sql(RECORDS)
    same = "on r.shard = s.shard and r.row = s.row"
    ((undecided,),) = tables.rows(f"select count(*) from {known} r anti join {selection} s {same}")
    ((orphans,),) = tables.rows(f"select count(*) from {selection} s anti join {known} r {same}")
    ((doubled,),) = tables.rows(
        f"select count(*) from (select 1 from {selection} group by shard, row having count(*) > 1)"
    )
    return counts | {"undecided": undecided, "orphans": orphans, "doubled": doubled}, states


def reasons(tables: Tables) -> list[Reason]:
    """Counts rejected and failed records by reason; a record counts for each of its reasons."""
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
    """Returns for some shards: state, reason, condition, and the counts of `Reason`."""
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
    """Counts the items of a list column (`flags`, `nulls`, `pending_on`), most frequent first."""
    sql = "select item, count(*) from (select unnest({}) as item from {} where {}) group by 1"
    counts = _counted(tables, sql.format(column, "{}", condition))
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def tiers(tables: Tables) -> list[tuple[str, int]]:
    """Counts kept records by quality tier, the best first; empty if no record has a tier."""
    sql = "select tier, count(*) from {} where state = 'kept' group by 1"
    counts = _counted(tables, sql, "tier")
    if not any(counts):
        return []
    ordered = sorted(counts, key=lambda tier: tier or "", reverse=True)
    return [(tier or "none", counts[tier]) for tier in ordered]


def _counted(tables: Tables, sql: str, column: str = "state") -> Counter[Any]:
    """Adds up a query that counts decisions by a value, over the shards that have a column."""
    counts: Counter[Any] = Counter()
    for rows in tables.each(_selected, sql, column):
        counts.update(dict(rows))
    return counts


def _selected(tables: Tables, sql: str, column: str) -> Rows:
    """Runs a query on the decisions of some shards, if they have a column."""
    if "selection" not in tables or column not in tables.columns("selection"):
        return []
    return [*tables.rows(sql.format(tables.sql("selection")))]


def examples(tables: Tables, state: str, reason: str | None, limit: int) -> list[Decision]:
    """Returns some decisions with a state (and reason), chosen by a keyed hash of the id."""
    return examples_of(tables, [in_state(state, reason)], limit)[0]


def in_state(state: str, reason: str | None = None) -> str:
    """Returns a SQL condition: the decision has a state, and a reason if one is given."""
    with_reason = "" if reason is None else f" and list_contains(reasons, {literal(reason)})"
    return f"state = {literal(state)}{with_reason}"


def examples_of(tables: Tables, conditions: Sequence[str], limit: int) -> list[list[Decision]]:
    """Returns for each condition some decisions that meet it, chosen by a keyed hash of the id."""
    chosen: list[Rows] = [[] for _ in conditions]
    for answers in tables.each(_examples, conditions, limit):
        chosen = [first([*rows, *more], limit) for rows, more in zip(chosen, answers, strict=True)]
    return [[decision(tuple(row[1:])) for row in rows] for rows in chosen]


def _examples(tables: Tables, conditions: Sequence[str], limit: int) -> list[Rows]:
    """Returns for each condition the first decisions of some shards, after their keyed hash."""
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
    """Returns the first rows, by hash and id; a row begins with a hash, shard, row and id."""
    return sorted(rows, key=lambda row: (row[0], row[3]))[:limit]


def records(tables: Tables, wanted: Iterable[tuple[int, int]]) -> dict[str, Record]:
    """Returns id -> record, for the records at some places (shard, row)."""
    places = sorted(set(wanted))
    shards = sorted({shard for shard, _ in places})
    tables = tables.near(shards, RECORDS)
    if RECORDS not in tables:
        return {}
    caption = "null"
    if "source.caption" in tables.columns(RECORDS):
        caption = 'cast("source.caption" as varchar)'
    rows = tables.rows(
        f'select shard, row, id, key, file, "offset", size, sha256, detail, {caption} '
        f"from {tables.sql(RECORDS)} where shard in {marks(shards)} "
        f"and (shard, row) in ({', '.join('(?, ?)' for _ in places)})",
        [*shards, *(number for place in places for number in place)],
    )
    return {row[2]: Record(*row) for row in rows}


def marks(items: Iterable[Any]) -> str:
    """Returns the SQL of a list of as many parameters as there are items: `(?, ?)`."""
    return "(" + ", ".join("?" for _ in items) + ")"


def decision(row: tuple[Any, ...]) -> Decision:
    """Makes a decision from a row with the columns of `DECISION`."""
    shard, number, key, state, why, values, duplicate_of, retryable = row
    parsed = json.loads(values) if values else {}
    return Decision(
        shard, number, key, state, why or [], parsed or {}, duplicate_of, bool(retryable)
    )
