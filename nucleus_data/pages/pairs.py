"""The page of duplicate pairs: some of each distance, side by side."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.states import FAILED, KEPT
from nucleus_data.hashing import keyed_sql
from nucleus_data.pages import charts, queries
from nucleus_data.pages.pictures import thumbnails as fetch_thumbnails
from nucleus_data.pages.report import environment, versions

EXACT = "equal files"


@dataclass(frozen=True, eq=False)
class Pair:
    """Two records; the other one may be of another corpus, and then has no place here."""

    one: queries.Decision
    other: queries.Decision | None
    other_id: str
    distance256: int
    aspect_difference: float


@dataclass(frozen=True)
class Distance:
    """Pairs of one distance.

    Attributes:
        name: `equal files`, or the distance of the 64-bit hashes.
        count: How many there are.
        median256: Median distance of their 256-bit hashes.
        pairs: Some of them.
    """

    name: str
    count: int
    median256: float
    pairs: Sequence[Pair]


def by_distance(tables: queries.Tables, each: int) -> list[Distance]:
    """Pairs by distance, equal files first; the shown ones are chosen by a keyed hash."""
    if "dedup" not in tables:
        return []
    pairs = tables.sql("dedup")
    found = []
    for exact, distance, count, median in tables.rows(
        f"select exact, distance, count(*), median(distance256) from {pairs} "
        "group by 1, 2 order by 1 desc, 2"
    ):
        rows = tables.rows(
            f"select shard, row, id, other_shard, other_row, other_id, distance256, "
            f"aspect_difference from {pairs} where exact = ? and distance = ? "
            f"order by {keyed_sql('pairs', 'id', 'other_id')}, id, other_id limit ?",
            [exact, distance, each],
        )
        shown = [
            Pair(_record(*row[:3]), _record(*row[3:6]) if row[3] is not None else None, *row[5:])
            for row in rows
        ]
        found.append(Distance(EXACT if exact else str(distance), count, median, shown))
    return found


def write_pairs_page(
    corpus: Corpus,
    name: str,
    run: str,
    hashes: Mapping[str, str],
    counts: Mapping[str, int],
    distances: Sequence[Distance],
    verdicts: Mapping[Pair, str],
    undecided: str = "",
    quality: Mapping[tuple[int, int], Sequence[str]] = MappingProxyType({}),
    made_at: datetime | None = None,
) -> str:
    """Writes the page and returns its path or URL.

    Args:
        corpus: The corpus.
        name: Where in the corpus.
        run: Name of the run, a heading.
        hashes: Table name -> config hash.
        counts: What `dedup` published.
        distances: From `by_distance`.
        verdicts: Of each pair, who stays and why.
        undecided: The command that decides who stays, if nobody has.
        quality: Shard and row of a record -> how good it is, in some words.
        made_at: The time that the page names; now, by default.
    """
    tables = queries.Tables(corpus, hashes)
    shown = [d for x in distances for p in x.pairs for d in (p.one, p.other) if d]
    decided = decisions_of(tables, ((d.shard, d.row) for d in shown))
    records = queries.records(tables, ((d.shard, d.row) for d in shown))
    # A pair was measured; but a file that failed since might kill its reader.
    safe = (r for r in records.values() if r.id not in decided or decided[r.id].state != FAILED)
    pictures = fetch_thumbnails(corpus.store, safe)
    largest = max((d.count for d in distances), default=0)
    values: dict[str, Any] = {
        "corpus": corpus.uri,
        "run": run,
        "table": hashes["dedup"],
        "counts": counts,
        "made_at": (made_at or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M %Z").strip(),
        "versions": versions({}),
        "distances": [(d, charts.bar(d.count, largest, "fill-duplicate")) for d in distances],
        "records": records,
        "pictures": pictures,
        "decided": decided,
        "verdicts": verdicts,
        "undecided": undecided,
        "quality": quality,
        "selection": hashes.get("selection"),
    }
    page = environment().get_template("pairs.html.j2").render(values)
    corpus.store.put(name, page.encode("utf-8", "replace"))
    return corpus.store.url(name)


def decisions_of(
    tables: queries.Tables, places: Iterable[tuple[int, int]]
) -> dict[str, queries.Decision]:
    """The decisions about the records at these places (shard, row), by id."""
    wanted = sorted(set(places))
    if not wanted or "selection" not in tables:
        return {}
    found = tables.rows(
        f"select {queries.DECISION} from {tables.sql('selection')} "
        f"where (shard, row) in ({', '.join('(?, ?)' for _ in wanted)})",
        [number for place in wanted for number in place],
    )
    return {row[2]: queries.decision(row) for row in found}


def _record(shard: int, row: int, name: str) -> queries.Decision:
    return queries.Decision(shard, row, name, KEPT, [], {}, None, False)
