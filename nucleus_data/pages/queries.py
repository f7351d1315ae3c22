"""What the report asks of a run's tables, in SQL; DuckDB counts, and only what is shown comes back.

Examples are chosen by a keyed hash of the record id, so that the same tables always give the same
page.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.hashing import keyed_sql

EXAMPLES = "report"  # of the keyed order that chooses what is shown


class Tables:
    """The exact tables of a run that have at least one part.

    Args:
        corpus: The corpus.
        hashes: Table name -> config hash.
    """

    def __init__(self, corpus: Corpus, hashes: Mapping[str, str]) -> None:
        self.connection = corpus.connection()
        pinned = {"records": corpus.records.config_hash, **hashes}
        found = {name: corpus.at(name, hashed) for name, hashed in pinned.items()}
        self.hashes = {name: table.config_hash for name, table in found.items()}
        self._sources = {name: table.sql() for name, table in found.items() if table.whole_parts()}
        self._found = found

    def __contains__(self, name: str) -> bool:
        return name in self._sources

    def names(self, prefix: str) -> list[str]:
        """Tables with this prefix that have rows, sorted."""
        return sorted(name for name in self._sources if name.startswith(prefix))

    def sql(self, name: str) -> str:
        """The table as a SQL source."""
        return self._sources[name]

    def failures(self, name: str) -> str:
        """A table's rows without values as a SQL source: `shard`, `row`, `id`, `error`, `detail`.

        Those that `nucleus retry` would do again are among them, unless the table has the row now.
        """
        sources, kept = [self.sql(name)], self.sql(name)
        if self._found[name].failed.whole_parts():
            sources.append(self._found[name].failed.sql())
        parts = []
        for source in sources:
            columns = {row[0] for row in self.rows(f"describe select * from {source}")}
            detail = "detail" if "detail" in columns else "null"
            # What waits for `nucleus retry` has a reason, a table's own row an error.
            error = "error" if "error" in columns else "reason"
            again = f" and (shard, row) not in (select (shard, row) from {kept})"
            parts.append(
                f"select shard, row, id, {error} as error, cast({detail} as varchar) as detail "
                f"from {source} where {error} is not null{again if source != kept else ''}"
            )
        return f"({' union all '.join(parts)})"

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Runs a query whose result is small."""
        return self.connection.execute(sql, list(values)).fetchall()

    def columns(self, name: str) -> dict[str, str]:
        """Column -> DuckDB type."""
        return {row[0]: row[1] for row in self.rows(f"describe select * from {self.sql(name)}")}


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


@dataclass(frozen=True)
class Member:
    """A dropped duplicate, and how far it is from the kept record (None: no such pair is known)."""

    decision: Decision
    distance: int | None
    distance256: int | None
    exact: bool


@dataclass(frozen=True)
class Cluster:
    """A kept record and those dropped for it.

    Attributes:
        kept: The survivor; None if the selection does not have it.
        size: How many records were dropped for it.
        members: The first of those.
    """

    kept: Decision | None
    size: int
    members: Sequence[Member] = field(default_factory=list)


DECISION = 'shard, row, id, state, reasons, "values", duplicate_of, retryable'


def ledger(tables: Tables) -> Ledger:
    """Counts records and decisions, and looks for what must not be."""
    records, with_image = 0, 0
    if "records" in tables:
        ((records, with_image),) = tables.rows(
            f"select count(*), count(file) from {tables.sql('records')}"
        )
    if "selection" not in tables:
        return Ledger(records, with_image, {}, records)
    selection = tables.sql("selection")
    states = dict(tables.rows(f"select state, count(*) from {selection} group by 1 order by 1"))
    if "records" not in tables:
        return Ledger(0, 0, states, 0, orphans=sum(states.values()))
    known = tables.sql("records")
    same = "on r.shard = s.shard and r.row = s.row"
    ((undecided,),) = tables.rows(f"select count(*) from {known} r anti join {selection} s {same}")
    ((orphans,),) = tables.rows(f"select count(*) from {selection} s anti join {known} r {same}")
    ((doubled,),) = tables.rows(
        f"select count(*) from (select 1 from {selection} group by shard, row having count(*) > 1)"
    )
    ((without,),) = tables.rows(
        f"select count(*) from {selection} d "
        f"anti join (select id from {selection} where state = 'kept') k on d.duplicate_of = k.id "
        "where d.state = 'duplicate' and not contains(d.duplicate_of, ':')"  # of this corpus
    )
    return Ledger(records, with_image, states, undecided, doubled, orphans, without)


def reasons(tables: Tables) -> list[Reason]:
    """Rejected and failed records by reason; a record counts once in each of its reasons."""
    found = tables.rows(
        f"""with fired as (
              select state, len(reasons) as n, retryable,
                     unnest(reasons) as reason, unnest(conditions) as condition
              from {tables.sql("selection")} where state in ('rejected', 'failed'))
            select state, reason, min(condition), count(*), count(*) filter (n = 1),
                   count(*) filter (retryable)
            from fired where reason is not null group by state, reason
            order by state desc, count(*) desc, reason"""
    )
    return [Reason(*row) for row in found]


def listed(tables: Tables, column: str, condition: str = "true") -> list[tuple[str, int]]:
    """How often each item of a list column (`flags`, `nulls`, `pending_on`) occurs."""
    return [
        (name, count)
        for name, count in tables.rows(
            f"select item, count(*) from (select unnest({column}) as item "
            f"from {tables.sql('selection')} where {condition}) group by 1 order by 2 desc, 1"
        )
    ]


def tiers(tables: Tables) -> list[tuple[str, int]]:
    """Kept records by quality tier, the best first; none if no record has one."""
    if "selection" not in tables or "tier" not in tables.columns("selection"):
        return []
    found = tables.rows(
        f"select tier, count(*) from {tables.sql('selection')} where state = 'kept' "
        "group by 1 order by tier desc nulls last"
    )
    if not any(tier for tier, _ in found):
        return []
    return [(tier or "none", count) for tier, count in found]


def examples(tables: Tables, state: str, reason: str | None, limit: int) -> list[Decision]:
    """Some decisions of a state (and reason), chosen by a keyed hash of the id."""
    with_reason = "" if reason is None else "and list_contains(reasons, $reason)"
    values = {"state": state, "limit": limit} | ({} if reason is None else {"reason": reason})
    found = tables.connection.execute(
        f"select {DECISION} from {tables.sql('selection')} where state = $state {with_reason} "
        f"order by {keyed_sql(EXAMPLES, 'id')}, id limit $limit",
        values,
    ).fetchall()
    return [decision(row) for row in found]


def clusters(tables: Tables, limit: int, members: int) -> tuple[int, list[Cluster]]:
    """How many duplicate clusters there are, and the largest of them with their first members."""
    selection = tables.sql("selection")
    ((total,),) = tables.rows(
        f"select count(distinct duplicate_of) from {selection} where state = 'duplicate'"
    )
    sizes = dict(
        tables.rows(
            f"select duplicate_of, count(*) from {selection} "
            "where state = 'duplicate' and duplicate_of is not null "
            f"group by 1 order by 2 desc, {keyed_sql(EXAMPLES, 'duplicate_of')}, 1 limit ?",
            [limit],
        )
    )
    if not sizes:
        return total, []
    dropped = [
        decision(row)
        for row in tables.rows(
            f"select {DECISION} from {selection} "
            f"where state = 'duplicate' and duplicate_of in {_marks(sizes)} "
            "qualify row_number() over (partition by duplicate_of order by id) <= ? order by id",
            [*sizes, members],
        )
    ]
    survivors = {
        row[2]: decision(row)
        for row in tables.rows(
            f"select {DECISION} from {selection} where state = 'kept' and id in {_marks(sizes)}",
            list(sizes),
        )
    }
    distances = _distances(tables, [*sizes, *(d.id for d in dropped)])
    return total, [
        Cluster(
            survivors.get(kept),
            size,
            [
                Member(d, *distances.get(frozenset((kept, d.id)), (None, None, False)))
                for d in dropped
                if d.duplicate_of == kept
            ],
        )
        for kept, size in sizes.items()
    ]


def records(tables: Tables, wanted: Iterable[tuple[int, int]]) -> dict[str, Record]:
    """The records at these places (shard, row), by id."""
    places = sorted(set(wanted))
    if not places or "records" not in tables:
        return {}
    caption = "null"
    if "source.caption" in tables.columns("records"):
        caption = 'cast("source.caption" as varchar)'
    shards = sorted({shard for shard, _ in places})
    found = tables.rows(
        f'select shard, row, id, key, file, "offset", size, sha256, detail, {caption} '
        f"from {tables.sql('records')} where shard in {_marks(shards)} "
        f"and (shard, row) in ({', '.join('(?, ?)' for _ in places)})",
        [*shards, *(number for place in places for number in place)],
    )
    return {row[2]: Record(*row) for row in found}


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def _marks(items: Iterable[Any]) -> str:
    return "(" + ", ".join("?" for _ in items) + ")"


def decision(row: tuple[Any, ...]) -> Decision:
    """A row of a selection, with the columns of `DECISION`."""
    shard, number, key, state, why, values, duplicate_of, retryable = row
    parsed = json.loads(values) if values else {}
    return Decision(
        shard, number, key, state, why or [], parsed or {}, duplicate_of, bool(retryable)
    )


def _distances(
    tables: Tables, ids: Sequence[str]
) -> dict[frozenset[str], tuple[int | None, int | None, bool]]:
    """Pairs among some ids: the distances of both hashes in bits, and whether files are equal."""
    if "dedup" not in tables:
        return {}
    marks = _marks(ids)
    found = tables.rows(
        "select id, other_id, min(distance), min(distance256), bool_or(exact) "
        f"from {tables.sql('dedup')} where id in {marks} and other_id in {marks} group by all",
        [*ids, *ids],
    )
    return {frozenset((a, b)): (near, far, bool(exact)) for a, b, near, far, exact in found}
