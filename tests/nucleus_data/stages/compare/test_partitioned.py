"""The ranks by partitions against those in memory and a simple union: the same bytes."""

import shutil
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.published import publish
from nucleus_data.corpus.tables import PAIRS_SCHEMA, Table, table_schema
from nucleus_data.stages.compare import partitioned
from nucleus_data.stages.compare.copies import rank_copies
from nucleus_data.stages.compare.members import ComparePlan
from nucleus_data.stages.compare.partitioned import SHARE, _slices
from nucleus_data.stages.compare.ranking import RankTask
from nucleus_data.stages.dedup.partitioned import write_pairs
from nucleus_data.world.throttled import throttled
from tests.support.ingested import tree
from tests.support.phases import Driver, Killed, inline, killed_after

ROWS, FIRST_MEASURED = 9, 3
SIDES = ("width", "height")


@pytest.fixture(autouse=True)
def ranked_by_digest(monkeypatch):
    """Files are not decoded: their digests are their order, and those with a 1 have an error."""

    def rank(self, corpus, copies):
        rows = copies.select(["copies", "sha256", "id"]).to_pylist()
        order = sorted(row["sha256"] for row in rows)
        return [
            {
                **row,
                "copy_rank": order.index(row["sha256"]),
                "copy_faults": [row["id"][-2:]],
                "error": "truncated" if row["sha256"].endswith("1") else None,
            }
            for row in rows
        ]

    monkeypatch.setattr(RankTask, "_rank", rank)
    monkeypatch.setattr(partitioned, "COPIES_A_TASK", 20)


def identity(place):
    return f"{place:032x}"


def corpus_of(folder, pairs, digests, sides):
    """A corpus of tables alone, every third shard, and its plan.

    Args:
        folder: Where it goes.
        pairs: Numbers of records; a second one below 0 is a record of another corpus.
        digests: The SHA-256 of each record.
        sides: The width of each record; the first shards have none.
    """
    corpus = Corpus(str(folder), create=True)
    places = [(n // ROWS * 3, n % ROWS) for n in range(len(digests))]
    shards = sorted({shard for shard, _ in places})
    for shard in shards:
        mine = [n for n, place in enumerate(places) if place[0] == shard]
        rows = range(len(mine))
        keys = {
            "shard": pa.array([shard] * len(mine), pa.int32()),
            "row": pa.array(rows, pa.int32()),
            "id": [identity(n) for n in mine],
        }
        files = {
            "file": [f"{n}.jpg" for n in mine],
            "offset": pa.array([1000 * row for row in rows], pa.int64()),
            "size": pa.array([500 + sides[n] for n in mine], pa.int64()),
            "sha256": [digests[n] for n in mine],
        }
        nothing = pa.nulls(len(mine), pa.string())
        corpus.records.append(shard, pa.table({**keys, **files, "error": nothing}), {})
        if shard >= 3 * FIRST_MEASURED:
            wide = pa.array([sides[n] for n in mine], pa.int32())
            measured = pa.table({**keys, "width": wide, "height": wide, "error": nothing})
            schema = table_schema(pa.schema([(name, pa.int32()) for name in SIDES]))
            Table(corpus.store, "inspect.file", "f").append(shard, measured.cast(schema), {})
    rows = [
        (*places[one], identity(one))
        + ((*places[other], identity(other)) if other >= 0 else (None, None, identity(-other)))
        + (0, 0, 0.0, False)
        for one, other in sorted(pairs)
    ]
    columns = zip(PAIRS_SCHEMA, zip(*rows, strict=True), strict=True)
    table = pa.table([pa.array(v, field.type) for field, v in columns], schema=PAIRS_SCHEMA)
    target = Table(corpus.store, "dedup", "d")
    write_pairs(target, table)
    publish(corpus.store, target.folder, {"pairs": len(rows)})
    hashes = {"dedup": "d", "compare": "c", "inspect.file": "f"}
    options = corpus.store.storage_options
    read = {"inspect.file": SIDES}
    plan = ComparePlan(corpus.uri, options, hashes, shards, read, 3, 10**6)
    return SimpleNamespace(corpus=corpus, plan=plan, pairs=pairs, digests=digests)


def curious(folder, seed, count=150):
    """Chains, stars, single pairs and copies of another corpus, of few files and few sizes."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, count // 3, count)
    members = [np.flatnonzero(group == g).tolist() for g in range(count // 3)]
    pairs = set()
    for g, mine in enumerate(members):
        rng.shuffle(mine)
        ends = pairwise(mine) if g % 2 else ((mine[0], n) for n in mine[1:])
        pairs |= {(min(pair), max(pair)) for pair in ends}
    pairs |= {(int(n), -int(n) - 1) for n in rng.integers(0, count, 20)}
    digests = [f"{group[n]:03d}-{rng.integers(0, 5)}" for n in range(count)]
    return corpus_of(folder, pairs, digests, rng.integers(1, 4, count).tolist())


def files_of(made):
    """All files of the table, but for what passes hand to each other, which there is before."""
    files = tree(made.corpus.store.path(made.plan.folder))
    assert any(name.startswith("_work") for name in files)
    return {name: content for name, content in files.items() if not name.startswith("_work")}


def begin_again(made):
    """Removes the table, and all that was done for it."""
    shutil.rmtree(made.corpus.store.path(made.plan.folder))


def rows_of(made):
    """The table's rows, by record."""
    table = Table(made.corpus.store, "compare", made.plan.tables["compare"])
    parts = [table.read(shard) for shard in table.shards()]
    return {int(row["id"], 16): row for row in pa.concat_tables(parts).to_pylist()}


def components(made):
    """Record -> all records of its group, for those that have a copy in the corpus."""
    groups = {}
    for one, other in made.pairs:
        if other >= 0:
            joined = groups.get(one, {one}) | groups.get(other, {other})
            groups |= dict.fromkeys(joined, joined)
    return groups


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "parts"), [(2, 5), (1, 7), (3, 12), (4, 60), (5, 20)])
def test_partitions_and_memory_and_a_simple_union_agree(tmp_path, seed, parts):
    made = curious(tmp_path, seed)
    counts = rank_copies(made.plan, made.corpus, len(made.pairs), inline)
    rows, expected = rows_of(made), files_of(made)
    begin_again(made)
    phases = []

    def noting(name, *more):
        phases.append(name)
        return inline(name, *more)

    most = min(len(made.pairs) - 1, -(-len(made.pairs) * SHARE // parts))
    assert rank_copies(made.plan, made.corpus, most, noting) == counts
    assert phases[:2] == ["links", "above-0"]
    assert phases[-5:] == ["members", "order", "copies", "rank", "write"]
    assert files_of(made) == expected
    groups = components(made)
    assert rows.keys() == groups.keys()
    for n, group in groups.items():
        assert int(rows[n]["copy_best"], 16) in group
        assert len({rows[other]["copy_best"] for other in group}) == 1
    pictures = {min(group) for group in groups.values()}
    assert counts["records"] == len(rows)
    assert counts["pictures"] == len(pictures)
    assert counts["compared"] > 20
    assert counts["failed"] > 3
    assert len(expected) > 10


@pytest.mark.slow
def test_a_killed_comparison_goes_on_where_it_was(tmp_path):
    made = curious(tmp_path, 7)
    most, worked = len(made.pairs) // 2, []
    counts = rank_copies(made.plan, made.corpus, most, killed_after(-1, worked))
    expected, total = files_of(made), len(worked)
    assert len(set(worked)) == total > 30
    for tasks in (1, total // 3, total // 2, *range(3 * total // 4, total, 5)):
        begin_again(made)
        worked.clear()
        with pytest.raises(Killed):
            rank_copies(made.plan, made.corpus, most, killed_after(tasks, worked))
        # Another number of partitions has files of its own, and the same result.
        again = most if tasks != total // 2 else most // 3
        assert rank_copies(made.plan, made.corpus, again, inline) == counts
        assert files_of(made) == expected


@pytest.mark.slow
def test_a_task_that_died_before_it_said_so_is_done_again(tmp_path):
    made = curious(tmp_path, 8)
    plan, most = made.plan, len(made.pairs) // 2
    counts = rank_copies(plan, made.corpus, most, inline)
    expected = tree(made.corpus.store.path(plan.folder))
    done = Path(made.corpus.store.path(plan.folder)) / "_work"
    for phase in ("members", "order", "rank", "write"):
        for marker in done.rglob(f"done/{phase}/*.json"):
            marker.unlink()
    assert rank_copies(plan, made.corpus, most, inline) == counts
    assert tree(made.corpus.store.path(plan.folder)) == expected


@pytest.mark.slow
def test_a_failed_task_ends_the_comparison(tmp_path):
    made = curious(tmp_path, 1, count=60)
    part = sorted(Path(made.corpus.store.path("tables/inspect.file/f")).iterdir())[1]
    part.write_bytes(b"no Parquet")
    assert rank_copies(made.plan, made.corpus, len(made.pairs) // 2, inline) is None
    assert files_of(made) == {}


@pytest.mark.parametrize("most", [1, 5])
def test_pairs_with_another_corpus_alone_are_a_table_without_rows(tmp_path, most):
    made = corpus_of(tmp_path, {(0, -1), (9, -2)}, ["a"] * 18, [1] * 18)
    counts = rank_copies(made.plan, made.corpus, most, inline)
    assert counts == {"records": 0, "pictures": 0, "compared": 0, "failed": 0}
    assert made.corpus.store.list(made.plan.folder) == (["_work"] if most == 1 else [])


def test_slices_have_whole_groups():
    groups = np.array([3, 3, 4, 7, 7, 7, 9, 9], np.int64)
    assert _slices(groups, 2).tolist() == [0, 0, 0, 0, 0, 0, 1, 1]
    assert _slices(groups, 1).tolist() == [0] * 8
    assert _slices(groups[:0], 3).tolist() == []


def stars(folder, shards, rows):
    """A corpus in which the rows of all shards are equal files to those of the first."""
    places = np.arange(shards * ROWS).reshape(shards, ROWS)[:, :rows]
    pairs = {(int(places[0, row]), int(n)) for row in range(rows) for n in places[1:, row]}
    digests = [f"{n % ROWS}" for n in range(shards * ROWS)]
    made = corpus_of(folder, pairs, digests, [1] * len(digests))
    url, options = throttled(made.corpus.store.path(""), 0)
    made.plan = replace(made.plan, uri=url, storage_options=options)
    made.corpus = Corpus(url, options)
    return made


@pytest.mark.slow
def test_the_driver_holds_and_asks_no_more_for_more_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr(partitioned, "COPIES_A_TASK", 10**6)
    found = {}
    for name, shards, rows, parts in (
        ("warm", 20, 5, 4),
        ("few", 40, 10, 4),
        ("many", 40, 400, 4),
        ("wide", 160, 10, 4),
        ("memory", 40, 400, 1),
    ):
        monkeypatch.setattr(f"{__name__}.ROWS", rows)
        made = stars(tmp_path / name, shards, rows)
        driver = Driver()
        most = -(-len(made.pairs) // parts)
        counts = driver.measure(partial(rank_copies, made.plan, made.corpus, most))
        assert counts["records"] == shards * rows
        assert counts["pictures"] == rows
        found[name] = driver
    assert found["many"].held < found["few"].held + 100_000
    assert found["memory"].held > found["few"].held + 1_000_000
    assert found["many"].requests == found["few"].requests
    assert found["wide"].requests <= found["few"].requests + 5
