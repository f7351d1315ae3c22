"""The page of duplicate pairs: some pairs of each distance, side by side."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from types import MappingProxyType
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.states import FAILED, KEPT
from nucleus_data.hashing import keyed_sql
from nucleus_data.pages import queries
from nucleus_data.pages.charts.bars import bar
from nucleus_data.pages.pictures import thumbnails as fetch_thumbnails
from nucleus_data.pages.report import environment, versions
from nucleus_data.pages.tables import Rows, Tables

EXACT = "equal files"
PAIRS = "dedup"


@dataclass(frozen=True, eq=False)
class Pair:
    """A pair of records; `other` is None if it is of another corpus."""

    one: queries.Decision
    other: queries.Decision | None
    other_id: str
    distance256: int
    aspect_difference: float


@dataclass(frozen=True)
class Distance:
    """The pairs of one distance.

    Attributes:
        name: `equal files`, or the distance of the 64-bit hashes in bits.
        count: Number of pairs.
        median256: Median distance of their 256-bit hashes in bits.
        pairs: Some of the pairs.
    """

    name: str
    count: int
    median256: float
    pairs: Sequence[Pair]


def by_distance(tables: Tables, each: int) -> list[Distance]:
    """Returns the pairs by distance, equal files first.

    Args:
        tables: The run's tables.
        each: Most pairs of each distance that are returned; they are chosen by a keyed hash.
    """
    counts: dict[tuple[bool, int], Counter[int | None]] = {}
    for rows in tables.each(_counts):
        for exact, distance, distance256, count in rows:
            counts.setdefault((exact, distance), Counter())[distance256] += count
    kinds = sorted(counts, key=lambda kind: (not kind[0], kind[1]))
    shown: list[Rows] = [[] for _ in kinds]
    for answers in tables.each(_shown, kinds, each) if kinds else ():
        shown = [
            sorted([*rows, *more], key=lambda row: (row[0], row[3], row[6]))[:each]
            for rows, more in zip(shown, answers, strict=True)
        ]
    return [
        Distance(
            EXACT if exact else str(distance),
            counts[exact, distance].total(),
            _median(counts[exact, distance]),
            [_pair(row) for row in rows],
        )
        for (exact, distance), rows in zip(kinds, shown, strict=True)
    ]


def _counts(tables: Tables) -> Rows:
    """Returns for some shards: whether files are equal, both distances, and the number of pairs."""
    if PAIRS not in tables:
        return []
    return [
        *tables.rows(
            f"select exact, distance, distance256, count(*) from {tables.sql(PAIRS)} "
            "where distance is not null group by all"  # members of crowds are no pairs
        )
    ]


def _shown(tables: Tables, kinds: Sequence[tuple[bool, int]], each: int) -> list[Rows]:
    """Returns for each kind the first pairs of some shards by a keyed hash, which comes first."""
    if PAIRS not in tables:
        return [[] for _ in kinds]
    order = keyed_sql("pairs", "id", "other_id")
    return [
        [
            *tables.rows(
                f"select {order} as hash, shard, row, id, other_shard, other_row, other_id, "
                f"distance256, aspect_difference from {tables.sql(PAIRS)} "
                "where exact = ? and distance = ? order by hash, id, other_id limit ?",
                [exact, distance, each],
            )
        ]
        for exact, distance in kinds
    ]


def _pair(row: Sequence[Any]) -> Pair:
    _, shard, number, name, *other, distance256, aspect = row
    own = _record(*other) if other[0] is not None else None
    return Pair(_record(shard, number, name), own, other[2], distance256, aspect)


def _median(counts: Counter[int | None]) -> float:
    """Returns the median of counted values; None is ignored."""
    values = sorted(value for value in counts if value is not None)
    ends = list(accumulate(counts[value] for value in values))
    if not ends:
        return math.nan
    # The two values in the middle, which are the same one if their number is odd.
    middle = [values[bisect_right(ends, (ends[-1] - 1 + more) // 2)] for more in (0, 1)]
    return sum(middle) / 2


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
        name: Path of the page below the corpus.
        run: Name of the run, for the heading.
        hashes: Table name -> config hash.
        counts: The counts that `dedup` published.
        distances: The pairs, from `by_distance`.
        verdicts: Pair -> which record stays, and why.
        undecided: The command that decides which records stay, if that is not decided yet.
        quality: (shard, row) of a record -> its quality in words.
        made_at: The time that is shown on the page; by default now.
    """
    tables = Tables(corpus, hashes)
    shown = [d for x in distances for p in x.pairs for d in (p.one, p.other) if d]
    decided = decisions_of(tables, ((d.shard, d.row) for d in shown))
    records = queries.records(tables, ((d.shard, d.row) for d in shown))
    # Records in a pair were decoded once, but a file that failed later might crash the decoder.
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
        "distances": [(d, bar(d.count, largest, "fill-duplicate")) for d in distances],
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


def decisions_of(tables: Tables, places: Iterable[tuple[int, int]]) -> dict[str, queries.Decision]:
    """Returns id -> decision, for the records at some places (shard, row)."""
    wanted = sorted(set(places))
    tables = tables.near({shard for shard, _ in wanted}, "selection")
    if "selection" not in tables:
        return {}
    rows = tables.rows(
        f"select {queries.DECISION} from {tables.sql('selection')} "
        f"where (shard, row) in ({', '.join('(?, ?)' for _ in wanted)})",
        [number for place in wanted for number in place],
    )
    return {row[2]: queries.decision(row) for row in rows}


def _record(shard: int, row: int, name: str) -> queries.Decision:
    return queries.Decision(shard, row, name, KEPT, [], {}, None, False)
