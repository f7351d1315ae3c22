"""The walk by partitions against the one in memory and a simple one: the same bytes."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.exchanged import get
from nucleus_data.corpus.published import publish
from nucleus_data.corpus.tables import PAIRS_SCHEMA, Table, table_schema
from nucleus_data.stages.dedup import crowds
from nucleus_data.stages.dedup.crowds import CROWD
from nucleus_data.stages.dedup.pairs import find_duplicates
from nucleus_data.stages.dedup.partitioned import write_pairs
from nucleus_data.stages.dedup.rows import places_of
from nucleus_data.stages.dedup.settings import DedupSettings
from nucleus_data.stages.select.duplicates import clear, drop_duplicates
from nucleus_data.stages.select.expression import Names, parse_condition, parse_order
from nucleus_data.stages.select.ledger import LedgerTask
from nucleus_data.stages.select.placeholders import find_placeholders, told_of
from nucleus_data.stages.select.plan import Decisions, SelectionPlan
from nucleus_data.stages.select.rules import Rule
from nucleus_data.stages.select.settings import PlaceholderSettings
from nucleus_data.world.throttled import throttled
from tests.support import curated
from tests.support.clustered import clustered_table
from tests.support.phases import Driver, Killed, inline, killed_after

APART = 5  # shards between two that have records, so that pairs join many groups of shards
PLACEHOLDERS = PlaceholderSettings(sites=3, captions=None)


def curious(folder, seed, count=300, crowd=CROWD):
    """A corpus of clusters with its pairs, a rule and an order that leaves equals to the ids.

    Its table of pairs lists pictures with more than `crowd` pairs as members of crowds; what is
    returned has all pairs.
    """
    rng = np.random.default_rng(seed)
    both = clustered_table(seed, count + 40, centres=count // 40)
    rows, other = both.slice(0, count), both.slice(count)
    rows = rows.set_column(0, "shard", pc.multiply(rows["shard"], pa.scalar(APART, pa.int32())))
    shards = rows["shard"].to_numpy()
    rank, bad = rng.integers(0, 4, count), rng.random(count) < 0.15
    # The first groups of shards lack the table that the order reads.
    seen = (rng.random(count) < 0.95) & (shards >= 40)
    sites = [f"http://site{n}.test/" for n in rng.integers(0, 5, count)]
    corpus = Corpus(str(folder), create=True)
    own = Table(corpus.store, "own", "o")
    values = pa.schema([("rank", pa.int64()), ("bad", pa.bool_())])
    for shard in np.unique(shards).tolist():
        mine = pa.array(shards == shard)
        keys = rows.select(["shard", "row", "id"])
        records = keys.append_column("source.url", [sites]).filter(mine)
        corpus.records.append(shard, unbroken(records), {})
        measured = keys.append_column("rank", [rank]).append_column("bad", [bad])
        measured = measured.filter(pa.array((shards == shard) & seen))
        measured = measured.append_column("error", pa.nulls(len(measured), pa.string()))
        if len(measured):
            own.append(shard, measured.cast(table_schema(values)), {})
    settings = DedupSettings(against={"release": "there"})
    pairs = find_duplicates(rows, settings, [other])
    told = told_of(rows.append_column("source.url", [sites]))
    with mock.patch.object(crowds, "CROWD", crowd):
        written = find_duplicates(rows, settings, [other])
    plan = with_pairs(corpus, written, np.unique(shards).tolist())
    kept = [
        (int(r), ident, place)
        for r, ident, place, well in zip(
            rank, rows["id"].to_pylist(), places_of(rows).tolist(), seen & ~bad, strict=True
        )
        if well
    ]
    listed = written["distance"].null_count
    return SimpleNamespace(
        corpus=corpus, plan=plan, pairs=pairs, listed=listed, told=told, kept=kept
    )


def unbroken(records):
    """Records whose images are all there."""
    records = records.append_column("error", pa.nulls(len(records), pa.string()))
    return records.append_column("retryable", pa.nulls(len(records), pa.bool_()))


def with_pairs(corpus, pairs, shards):
    """Writes pairs as `dedup` does; returns the plan of a selection that reads them."""
    target = Table(corpus.store, "dedup", "d")
    write_pairs(target, pairs)
    publish(corpus.store, target.folder, {"pairs": pairs.num_rows})
    names = Names({"bad": "own", "rank": "own"})
    bad = Rule("bad", "reject", "bad", parse_condition("bad", "rule", names))
    decisions = Decisions([bad], ["own"], [parse_order("rank", "prefer", names)])
    hashes = {"selection": "s", "own": "o", "dedup": "d"}
    return SelectionPlan(
        corpus.uri,
        corpus.store.storage_options,
        decisions,
        hashes,
        shards,
        placeholders=PLACEHOLDERS,
    )


def simple(made):
    """Who is dropped and for whom, by the definition, over all pairs: place -> survivor."""
    found = find_placeholders(made.pairs, made.told, PLACEHOLDERS)
    gone = set(places_of(found).tolist())
    assert gone
    pairs = made.pairs.to_pylist()
    classes = {name: {name} for pair in pairs for name in (pair["id"], pair["other_id"])}
    for pair in pairs:
        apart = (pair["distance"], pair["distance256"], pair["aspect_difference"])
        if pair["exact"] or not any(apart):
            joined = classes[pair["id"]] | classes[pair["other_id"]]
            classes |= dict.fromkeys(joined, joined)
    near = {name: set(members) for name, members in classes.items()}
    for pair in pairs:
        one, other = classes[pair["id"]], classes[pair["other_id"]]
        for name in one:
            near[name] |= other
        for name in other:
            near[name] |= one
    stay = sorted({p["other_id"] for p in pairs if p["other_shard"] is None})
    dropped = {}
    for _, name, place in sorted(one for one in made.kept if one[2] not in gone):
        better = [other for other in stay if other in near.get(name, ())]
        if better:
            dropped[place] = better[0]
        else:
            stay.append(name)
    return dropped


def files_of(corpus, plan):
    """What a walk left for the ledger."""
    folder = Path(corpus.store.path(plan.exchanged("x", 0))).parent
    kinds = ("members", "dropped", "placeholders")
    return {p.name: p.read_bytes() for kind in kinds for p in folder.glob(f"{kind}-*")}


def dropped_of(corpus, plan):
    """Place -> survivor, of a walk's files."""
    parts = [
        get(corpus.store, plan.exchanged("dropped", g)) for g in plan.left("dropped", corpus.store)
    ]
    table = pa.concat_tables(parts)
    return dict(zip(places_of(table).tolist(), table["duplicate_of"].to_pylist(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "parts"), [(1, 2), (1, 4), (2, 3), (3, 30), (4, 7), (5, 11)])
def test_partitions_and_memory_and_a_simple_walk_agree(tmp_path, seed, parts):
    made = curious(tmp_path, seed)
    corpus = made.corpus
    whole, cut = replace(made.plan, root="whole"), replace(made.plan, root="cut")
    count = drop_duplicates(whole, corpus, len(made.pairs), inline)
    phases = []

    def noting(name, *more):
        phases.append(name)
        return inline(name, *more)

    assert drop_duplicates(cut, corpus, -(-len(made.pairs) // parts), noting) == count
    assert phases[:2] == ["links", "above-0"]
    assert files_of(corpus, cut) == files_of(corpus, whole)
    assert count > 20
    expected = simple(made)
    found = dropped_of(corpus, cut)
    assert any(":" in survivor for survivor in expected.values())
    # Of several foreign duplicates any is named.
    assert {place: name.partition(":")[0] for place, name in found.items()} == {
        place: name.partition(":")[0] for place, name in expected.items()
    }
    assert len(whole.left("dropped", corpus.store)) > 3
    for plan in (whole, cut):
        for item in plan.items(plan.groups()):
            LedgerTask(plan).run(item.number)
        clear(plan, corpus)
    folders = [Path(corpus.store.path(f"{plan.root}/selection/s")) for plan in (whole, cut)]
    one, other = (
        {p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders
    )
    assert one == other


@pytest.mark.slow
def test_crowds_are_walked_in_partitions_as_in_memory(tmp_path):
    made = curious(tmp_path, 2, count=160, crowd=2)
    assert made.listed > 20
    whole, cut = replace(made.plan, root="whole"), replace(made.plan, root="cut")
    count = drop_duplicates(whole, made.corpus, len(made.pairs), inline)
    assert drop_duplicates(cut, made.corpus, len(made.pairs) // 5, inline) == count
    assert files_of(made.corpus, cut) == files_of(made.corpus, whole)
    found, expected = dropped_of(made.corpus, whole), simple(made)
    assert found.keys() == expected.keys()
    own = [place for place, name in expected.items() if ":" not in name]
    assert own
    assert all(found[place] == expected[place] for place in own)


@pytest.mark.slow
def test_a_killed_walk_goes_on_where_it_was(tmp_path):
    made = curious(tmp_path, 7)
    corpus, most, worked = made.corpus, len(made.pairs) // 4, []
    whole = replace(made.plan, root="whole")
    count = drop_duplicates(whole, corpus, most, killed_after(-1, worked))
    total = len(worked)
    assert len(set(worked)) == total > 30
    for tasks in (1, total // 3, total // 2, 3 * total // 4, total - 1):
        plan = replace(made.plan, root=f"after-{tasks}")
        worked.clear()
        with pytest.raises(Killed):
            drop_duplicates(plan, corpus, most, killed_after(tasks, worked))
        # The last task died before it said that it was done.
        markers = sorted(Path(corpus.store.path(plan.partitions())).rglob("*.json"))
        max(markers, key=lambda path: path.stat().st_mtime_ns).unlink()
        # Another number of partitions has files of its own, and the same result.
        again = most if tasks != total // 2 else most // 3
        assert drop_duplicates(plan, corpus, again, inline) == count
        assert files_of(corpus, plan) == files_of(corpus, whole)
        clear(plan, corpus)
        assert "_partitions" not in corpus.store.list(f"{plan.root}/selection/s")


def test_a_failed_task_ends_the_walk(tmp_path):
    made = curious(tmp_path, 1, count=80)
    part = sorted(Path(made.corpus.store.path("tables/own/o")).iterdir())[3]
    part.write_bytes(b"no Parquet")
    assert drop_duplicates(made.plan, made.corpus, len(made.pairs) // 2, inline) is None
    assert made.plan.left("dropped", made.corpus.store) == []


@pytest.mark.slow
def test_an_order_that_fails_on_a_record_says_so(tmp_path):
    made = curious(tmp_path, 1, count=80)
    names = Names({"bad": "own", "rank": "own"})
    order = parse_order("(rank * 100)::TINYINT", "prefer", names)
    plan = replace(made.plan, decisions=made.plan.decisions._replace(prefer=[order]))
    failed = []

    def noting(name, *more):
        report = inline(name, *more)
        failed.extend(one.error for one in report.failed)
        return report

    assert drop_duplicates(plan, made.corpus, len(made.pairs) // 2, noting) is None
    assert "select.prefer" in failed[0]


def stars(folder, shards, rows):
    """A corpus in which the rows of all shards are copies of those of the first."""
    local = Corpus(str(folder), create=True)
    ids = [[f"{shard:016x}{row:016x}" for row in range(rows)] for shard in range(shards)]
    for shard in range(shards):
        keys = {
            "shard": pa.array([shard] * rows, pa.int32()),
            "row": pa.array(range(rows), pa.int32()),
            "id": ids[shard],
        }
        values = {"rank": pa.array([shard] * rows, pa.int64()), "bad": [False] * rows}
        error = {"error": pa.nulls(rows, pa.string())}
        local.records.append(shard, unbroken(pa.table(keys)), {})
        Table(local.store, "own", "o").append(shard, pa.table({**keys, **values, **error}), {})
    pairs = [
        (0, row, ids[0][row], shard, row, ids[shard][row], 0, 0, 0.0, False)
        for row in range(rows)
        for shard in range(1, shards)
    ]
    columns = zip(PAIRS_SCHEMA, zip(*pairs, strict=True), strict=True)
    table = pa.table([pa.array(v, field.type) for field, v in columns], schema=PAIRS_SCHEMA)
    url, options = throttled(local.store.path(""), 0)
    corpus = Corpus(url, options)
    return corpus, replace(with_pairs(corpus, table, range(shards)), placeholders=None), len(pairs)


@pytest.mark.slow
def test_the_driver_holds_and_asks_no_more_for_more_pairs(tmp_path):
    found = {}
    for name, shards, rows, parts in (
        ("warm", 20, 5, 4),
        ("few", 40, 10, 4),
        ("many", 40, 400, 4),
        ("wide", 160, 10, 4),
        ("memory", 40, 400, 1),
    ):
        corpus, plan, pairs = stars(tmp_path / name, shards, rows)
        driver = Driver()
        most = -(-pairs // parts)
        dropped = driver.measure(partial(drop_duplicates, plan, corpus, most))
        assert dropped == (shards - 1) * rows
        found[name] = driver
    assert found["many"].held < found["few"].held + 100_000
    assert found["memory"].held > found["few"].held + 1_000_000
    assert found["many"].requests == found["few"].requests
    assert found["wide"].requests <= found["few"].requests + 5


@pytest.mark.slow
def test_a_selection_is_the_same_by_partitions(corpus, tmp_path):
    def rows(folder, *overrides):
        made = curated.run(folder, "select", *overrides, "select.rules={}")
        made.do("dedup", "select")
        hashed = made.tables["selection"]
        assert "_partitions" not in made.corpus.store.list(f"tables/selection/{hashed}")
        return hashed, curated.table(made.corpus, "selection", hashed)

    shutil.copytree(corpus.uri, tmp_path / "other")
    hashed, expected = rows(corpus.uri)
    assert rows(str(tmp_path / "other"), "dedup.partition_records=1") == (hashed, expected)
    assert {row["state"] for row in expected} >= {"kept", "duplicate", "failed"}
