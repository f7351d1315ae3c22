"""From measured rows to what the duplicate search finds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from nucleus_data.stages.dedup.pairs import find_duplicates
from nucleus_data.stages.dedup.settings import DedupSettings
from nucleus_data.stages.dedup.walk import walk
from nucleus_data.world.expected import (
    CHAINS,
    CLIPS,
    NEED_EMBEDDINGS,
    PALE,
    TURNED_OR_FRAMED,
    TWIN,
)
from nucleus_data.world.plan import COPY_FAULTS
from scripts.benchmark import Measure
from scripts.rules.counting import GOAL, goal_of, share
from scripts.rules.measuring import Row, strengths
from scripts.rules.pictures import ORIGINAL

_EMPTY = ("blank", "over_exposed", "under_exposed", PALE)


@dataclass(frozen=True)
class Hash:
    """A source of hashes for the search.

    Attributes:
        name: The signal group's.
        prefix: What its columns' names begin with.
    """

    name: str
    prefix: str

    def of(self, row: Row) -> tuple[Any, Any, Any, Any] | None:
        """pHash, 256-bit hash, width and height; None where nothing was measured."""
        names = ("phash", "hash256", "width", "height")
        return None if row["error"] else tuple(row[self.prefix + name] for name in names)  # type: ignore[return-value]


PLAIN = Hash("hash", "")
CANONICAL = Hash("canonical", "canonical_")


def pairs_of(rows: Sequence[Row], source: Hash, settings: DedupSettings) -> pa.Table:
    """The `dedup` table of the rows; an id is a row's place."""
    values = [source.of(row) or (None,) * 4 for row in rows]
    columns = list(zip(*values, strict=True))
    table = pa.table(
        {
            "shard": pa.array(np.zeros(len(rows)), pa.int32()),
            "row": pa.array(np.arange(len(rows)), pa.int32()),
            "id": _ids(len(rows)),
            "sha256": [row["sha256"] for row in rows],
            "phash": pa.array(columns[0], pa.uint64()),
            "hash256": pa.array(columns[1], pa.binary(32)),
            "width": pa.array(columns[2], pa.int32()),
            "height": pa.array(columns[3], pa.int32()),
        }
    )
    return find_duplicates(table, settings)


def _ids(count: int) -> pa.Array:
    return pa.array([f"{number:032x}" for number in range(count)])


def distances(one: Row, other: Row, source: Hash) -> tuple[int, int, float] | None:
    """How far two rows are apart: bits of pHash, bits of 256, difference of aspect ratios."""
    first, second = source.of(one), source.of(other)
    if first is None or second is None:
        return None
    bits = [int.from_bytes(hashes[1], "big") for hashes in (first, second)]
    left, right = first[2] * second[3], second[2] * first[3]
    aspect = max(left, right) / min(left, right) - 1
    return (first[0] ^ second[0]).bit_count(), (bits[0] ^ bits[1]).bit_count(), aspect


def near(one: Row, other: Row, source: Hash, settings: DedupSettings) -> bool:
    """Whether two rows count as duplicates, by the definition."""
    found = distances(one, other, source)
    return one["sha256"] == other["sha256"] or (
        found is not None
        and found[0] <= settings.distance
        and found[1] <= settings.hash256_distance
        and found[2] <= settings.aspect_tolerance
    )


def copies(rows: Sequence[Row], source: Hash, settings: DedupSettings) -> Iterator[Measure]:
    """Measures the share of each kind of copy that is found, and the share of right pairs.

    A copy is found if pairs connect it with its original. Beside it stand the pHash's distances:
    the median, the 90th and the 98th percentile.
    """
    rows = [row for row in rows if row["fault"] != ORIGINAL]
    pairs = pairs_of(rows, source, settings)
    ends = list(zip(pairs["row"].to_pylist(), pairs["other_row"].to_pylist(), strict=True))
    group = _components(len(rows), ends)
    place = {row["index"]: i for i, row in enumerate(rows)}
    for fault in (*COPY_FAULTS, TWIN):
        whole = [("", [i for i, row in enumerate(rows) if row["fault"] == fault])]
        for strength, places in list(strengths(rows, fault)) or whole:
            known = [i for i in places if rows[i]["original"] in place]
            originals = [place[rows[i]["original"]] for i in known]
            hits = sum(group[i] == group[j] for i, j in zip(known, originals, strict=True))
            apart = [
                found[0]
                for i, j in zip(known, originals, strict=True)
                if (found := distances(rows[i], rows[j], source))
            ]
            if not apart:
                continue
            name, goal, said = _expected(fault, strength, source)
            spread = "/".join(f"{d:g}" for d in np.percentile(apart, [50, 90, 98]).round())
            yield share(name, hits, len(known), goal, f"pHash {spread}{said}")
    yield from _chains(rows, place, source, settings, pairs)
    right = sum(_like(rows[one], rows[other]) for one, other in ends)
    if ends:
        yield share(f"precision of duplicates ({source.name})", right, len(ends), f">= {GOAL}")
    yield from false_pairs(rows, source, settings, _like)


def false_pairs(
    rows: Sequence[Row],
    source: Hash,
    settings: DedupSettings,
    like: Callable[[Row, Row], bool],
) -> Iterator[Measure]:
    """The share of wrong pairs among those that 64 bits propose, and among the confirmed ones.

    Of what is equal in all that is compared, only the pairs with the first are counted. Beside a
    share stands how many that are for a billion pairs of pictures, whether near or not.

    Args:
        rows: Measured pictures.
        source: Which hashes are compared.
        settings: What counts as near.
        like: Whether two rows are duplicates in truth.
    """
    measured = sum(source.of(row) is not None for row in rows)
    possible = measured * (measured - 1) // 2
    anything = {"hash256_distance": 256, "aspect_tolerance": 1e9}
    for what, how in (
        ("candidates by 64 bits", settings.model_copy(update=anything)),
        ("confirmed pairs", settings),
    ):
        pairs = pairs_of(rows, source, how)
        ends = zip(pairs["row"].to_pylist(), pairs["other_row"].to_pylist(), strict=True)
        wrong = sum(not like(rows[one], rows[other]) for one, other in ends)
        if pairs.num_rows:
            said = f"{1e9 * wrong / possible:.3g} a billion"
            yield share(f"false ones of {what} ({source.name})", wrong, pairs.num_rows, None, said)


def among_originals(
    rows: Sequence[Row], source: Hash, settings: DedupSettings
) -> tuple[list[Measure], list[str]]:
    """Pairs of pictures as they are: what 64 bits propose, and how much of it is confirmed.

    Which ones are copies in truth, nobody wrote down: they are listed for a person to look at.

    Args:
        rows: Measured pictures, with names.
        source: Which hashes are compared.
        settings: What counts as near.

    Returns:
        A row of the table, and the pairs, the confirmed ones first.
    """
    anything = settings.model_copy(update={"hash256_distance": 256, "aspect_tolerance": 1e9})
    listed: dict[str, None] = {}
    numbers = []
    for how in (settings, anything):
        pairs = pairs_of(rows, source, how)
        numbers.append(pairs.num_rows)
        for one, other in zip(
            pairs["row"].to_pylist(), pairs["other_row"].to_pylist(), strict=True
        ):
            said = (
                "confirmed" if near(rows[one], rows[other], source, settings) else "not confirmed"
            )
            listed[f"{rows[one]['name']} and {rows[other]['name']}: {said}"] = None
    confirmed, candidates = numbers
    measured = sum(source.of(row) is not None for row in rows)
    against = f"{candidates} candidates by 64 bits among {measured} pictures"
    name = f"originals: confirmed pairs ({source.name})"
    return [Measure(name, confirmed, "pairs", against=against)], list(listed)


def _expected(fault: str, strength: str, source: Hash) -> tuple[str, str | None, str]:
    name = f"{fault}, {strength}".rstrip(", ")
    goal = goal_of(strength)
    if fault in NEED_EMBEDDINGS:
        goal, said = None, "; needs embeddings"
    elif fault in CLIPS:
        goal, said = None, "; clips"
    elif fault in TURNED_OR_FRAMED and source is PLAIN:
        goal, said = None, "; see canonical"
    elif fault in CHAINS:
        goal, said = None, "; drifts away, see chains"
    else:
        said = ""
    return f"{name}: duplicate by {source.name}", goal, said


def _components(count: int, ends: Sequence[tuple[int, int]]) -> list[int]:
    """A number for each row, equal for those that pairs connect."""
    root = list(range(count))

    def top(number: int) -> int:
        while root[number] != number:
            root[number] = root[root[number]]
            number = root[number]
        return number

    for one, other in ends:
        root[top(one)] = top(other)
    return [top(number) for number in range(count)]


def _chains(
    rows: Sequence[Row],
    place: dict[int, int],
    source: Hash,
    settings: DedupSettings,
    pairs: pa.Table,
) -> Iterator[Measure]:
    """Copies of copies: whether no near link is missed, and whether the walk is right.

    How far a link drifts is the world's choice; so what is judged is that those within the
    distances are found, that nothing is dropped for what is not near it, and that of two near ones
    one is dropped.
    """
    links = [
        (i, place[row["original"]])
        for i, row in enumerate(rows)
        if row["fault"] in CHAINS and row["original"] in place
    ]
    if not links:
        return
    together = _together(len(rows), pairs)
    within = [pair for pair in links if near(rows[pair[0]], rows[pair[1]], source, settings)]
    found = sum(together(*pair) for pair in within)
    said = f"of {len(links)} links"
    yield share(
        f"chains: links within the distances, found ({source.name})",
        found,
        len(within),
        ">= 1",
        said,
    )
    ids = pa.chunked_array([_ids(len(rows))])
    keepers = walk(ids, np.ones(len(rows), bool), np.arange(len(rows)), pairs).to_pylist()
    dropped = {i: int(keeper, 16) for i, keeper in enumerate(keepers) if keeper}
    right = 0
    for pair in links:
        fits = all(
            near(rows[i], rows[dropped[i]], source, settings) and dropped[i] not in dropped
            for i in pair
            if i in dropped
        )
        right += fits and (pair not in within or any(i in dropped for i in pair))
    yield share(f"chains: walked rightly ({source.name})", right, len(links), ">= 1")


def _together(count: int, pairs: pa.Table) -> Callable[[int, int], bool]:
    """Whether two rows are a pair.

    A class of equal pictures is written as a star around its first one (`stages.dedup.classes`), so
    two classes are near where any two of their members are.
    """
    ends = list(zip(pairs["row"].to_pylist(), pairs["other_row"].to_pylist(), strict=True))
    apart = [pairs[name].to_numpy() for name in ("distance", "distance256", "aspect_difference")]
    equal = pairs["exact"].to_numpy() | np.logical_and.reduce([column == 0 for column in apart])
    group = _components(count, [pair for pair, same in zip(ends, equal, strict=True) if same])
    joined = {frozenset((group[one], group[other])) for one, other in ends}
    return lambda one, other: frozenset((group[one], group[other])) in joined


def _like(one: Row, other: Row) -> bool:
    """One scene, the same file (of HTML), or both without anything to see."""
    return (
        one["scene"] == other["scene"]
        or one["sha256"] == other["sha256"]
        or (one["fault"] in _EMPTY and other["fault"] in _EMPTY)
    )
