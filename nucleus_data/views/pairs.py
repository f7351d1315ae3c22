"""`nucleus pairs`: a page of duplicate pairs of each distance, with which one is kept, and why.

The decisions are those of the selection for the current tables and rules, if it exists.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.looking import going_without, without_lines
from nucleus_data.corpus.states import DUPLICATE, FAILED, KEPT
from nucleus_data.corpus.tables import Table
from nucleus_data.corpus.told import command as told
from nucleus_data.errors import RequestError
from nucleus_data.line.asking import RunWorkers
from nucleus_data.pages.pairs import EXACT, Distance, Pair, by_distance, decisions_of
from nucleus_data.pages.pairs import write_pairs_page as write
from nucleus_data.pages.queries import Decision, records
from nucleus_data.pages.tables import Tables
from nucleus_data.printed import counted
from nucleus_data.runner.run import Run
from nucleus_data.stages.compare.members import TABLE as COPIES
from nucleus_data.stages.compare.preference import QUALITY, RANK
from nucleus_data.stages.dedup.stage import TABLE, Dedup, published_counts
from nucleus_data.stages.score.stage import SCORES
from nucleus_data.stages.select.expression import Expression
from nucleus_data.stages.select.plan import TABLE as SELECTION
from nucleus_data.stages.select.stage import Select
from nucleus_data.stages.select.why import Place, preferences, why

KEYS = ("shard", "row", "id", "error")
# Items of the default order that are a copy's quality: what they are called.
QUALITIES = {RANK: "rank", QUALITY: "quality"}
ELSEWHERE = "the one of the other corpus stays: what that has is a duplicate here"


def show_pairs(run: Run, dedup: Dedup, select: Select, each: int) -> Iterator[str]:
    """Writes a page with some duplicate pairs of each distance.

    Args:
        run: The run.
        dedup: The stage that found the pairs.
        select: The stage that decides which pictures are kept.
        each: Maximum number of pairs to show of each distance.

    Raises:
        RequestError: `dedup` was not run since the tables changed.
    """
    hashes = dict(dedup.found(run, "the page"))
    counts = published_counts(run.corpus, hashes[TABLE])
    assert counts is not None, "found() says so"
    try:
        hashes |= select.found(run)
        decided = f"which copy is kept is decided by selection {hashes[SELECTION]}"
    except RequestError as error:
        decided = f"which copy is kept is not decided: {error}"
    except DamagedError as error:
        decided = f"which copy is kept can't be shown: {error}"
    undecided = "" if SELECTION in hashes else told("select", run.corpus.uri)

    def lines(corpus: Corpus) -> Iterator[str]:
        tables = Tables(corpus, hashes)
        workers = RunWorkers(run, dedup, corpus)
        try:
            distances = by_distance(Tables(corpus, {TABLE: hashes[TABLE]}, workers), each)
        finally:
            workers.clear()
        yield f"{counted(counts['pairs'], 'pair')} among {counted(counts['records'], 'record')}"
        for found in distances:
            name = found.name if found.name == EXACT else f"distance {found.name}"
            yield f"  {name:<12} {found.count:>12,}"
        yield decided
        verdicts: Mapping[Pair, str] = {}
        quality = _scores(corpus, run.tables, _places(distances))
        if not undecided:
            prefer = select.decisions(run, compared=COPIES in hashes).prefer
            values = preferences(corpus, {**run.tables, **hashes}, prefer, _places(distances))
            verdicts = _verdicts(prefer, values, tables, distances)
            quality = _with_ranks(prefer, values, quality)
        name = run.path("pairs.html")
        url = write(corpus, name, run.name, hashes, counts, distances, verdicts, undecided, quality)
        yield from without_lines([error.content() for error in corpus.left_out])
        yield url

    yield from going_without(run.corpus, lambda corpus: list(lines(corpus)))


def _places(distances: Sequence[Distance]) -> set[Place]:
    """Returns (shard, row) of all shown records."""
    shown = [pair for distance in distances for pair in distance.pairs]
    return {(d.shard, d.row) for pair in shown for d in (pair.one, pair.other) if d}


def _scores(
    corpus: Corpus, hashes: Mapping[str, str], places: Iterable[Place]
) -> dict[Place, list[str]]:
    """Returns the records' head scores as `NAME NUMBER`; most dropped copies have none."""
    if SCORES not in hashes:
        return {}
    table = Table(corpus.store, SCORES, hashes[SCORES])
    wanted: dict[int, set[int]] = {}
    for shard, row in places:
        wanted.setdefault(shard, set()).add(row)
    found: dict[Place, list[str]] = {}
    for shard, rows in wanted.items():
        scores = table.read(shard)
        for record in scores.to_pylist() if scores is not None else ():
            if record["row"] in rows:
                found[shard, record["row"]] = [
                    f"{name} {value:.4g}"
                    for name, value in record.items()
                    if name not in KEYS and isinstance(value, float)
                ]
    return found


def _with_ranks(
    prefer: Sequence[Expression],
    values: Mapping[Place, Sequence[Any]],
    scores: Mapping[Place, list[str]],
) -> dict[Place, list[str]]:
    """Prepends the values of the preference order (`select.prefer`) to the records' scores."""
    found = {}
    for place in {*values, *scores}:
        ranks = [
            f"{QUALITIES[order.text]} {value:.4g}"
            for order, value in zip(prefer, values.get(place, ()), strict=False)
            if order.text in QUALITIES and value is not None
        ]
        found[place] = [*ranks, *scores.get(place, ())]
    return found


def _verdicts(
    prefer: Sequence[Expression],
    values: Mapping[Place, Sequence[Any]],
    tables: Tables,
    distances: Sequence[Distance],
) -> dict[Pair, str]:
    """Returns, for each shown pair, which picture is kept and why."""
    shown = [pair for distance in distances for pair in distance.pairs]
    places = _places(distances)
    decided = decisions_of(tables, places)
    keys = {r.id: r.key for r in records(tables, places).values()}

    def reason(stays: Decision, dropped: Decision) -> str:
        mine, other = (values.get((d.shard, d.row)) for d in (stays, dropped))
        return f": {why(prefer, mine, other)}" if mine and other else ""

    return {pair: _verdict(pair, decided, keys, reason) for pair in shown}


def _verdict(
    pair: Pair, decided: Mapping[str, Decision], keys: Mapping[str, str], reason: Any
) -> str:
    one = decided.get(pair.one.id)
    other = decided.get(pair.other_id)
    if pair.other is None:
        return ELSEWHERE if one is None or one.state == DUPLICATE else _alone(one, keys)
    if one is None or other is None:
        return "not decided"
    for stays, dropped in ((one, other), (other, one)):
        if stays.state == KEPT and dropped.duplicate_of == stays.id:
            return f"{keys.get(stays.id, stays.id)} stays{reason(stays, dropped)}"
    if one.state == other.state == KEPT:
        return "both stay: neither is dropped for the other"
    if one.duplicate_of and one.duplicate_of == other.duplicate_of:
        return f"neither stays: both are dropped for {keys.get(one.duplicate_of, one.duplicate_of)}"
    return "; ".join(_alone(d, keys) for d in (one, other))


def _alone(decision: Decision, keys: Mapping[str, str]) -> str:
    """Describes the decision about one record of a pair."""
    name = keys.get(decision.id, decision.id)
    if decision.state == KEPT:
        return f"{name} stays"
    if decision.duplicate_of:
        return f"{name} is dropped for {keys.get(decision.duplicate_of, decision.duplicate_of)}"
    why_not = f" ({', '.join(decision.reasons)})" if decision.reasons else ""
    return f"{name} {'' if decision.state == FAILED else 'is '}{decision.state}{why_not}"
