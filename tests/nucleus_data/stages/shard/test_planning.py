"""Planning by partitions, on corpora of tables alone: conservation, sizes, order, caps, limits."""

from collections import Counter, defaultdict
from hashlib import md5
from itertools import count

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleus_data.sets.beside import read
from nucleus_data.sets.buckets import sizes_at
from nucleus_data.sets.layout import LEFT_OUT_SCHEMA, SetFolder
from nucleus_data.stages.shard import plan
from nucleus_data.stages.shard.order import indexes, offset_of
from nucleus_data.stages.shard.settings import ShardSettings
from nucleus_data.stages.shard.write import read_plan
from scripts.bench_plan import TABLES, metadata_corpus, planned
from tests.support.quick import quick

_numbers = count()
CAPS = {"B1": 30, "B2": 7}


def tars_of(planning):
    folder = SetFolder(planning._corpus.store, planning.folder)
    return [read_plan(folder, number) for number in range(planning.totals().tars)]


def out_of(planning):
    store, folder = planning._corpus.store, f"{planning.folder}/_plan/out"
    tables = [read(store, f"{folder}/{name}", LEFT_OUT_SCHEMA) for name in store.list(folder)]
    rows = pa.concat_tables(tables).to_pylist()
    found = {(row["id"], row["resolution"]): row["reason"] for row in rows}
    assert len(found) == len(rows)
    return found


def kept_of(corpus):
    """id -> its rows of all tables, of kept records."""
    rows = defaultdict(dict)
    for name, hashed in TABLES.items():
        table = corpus.at(name, hashed)
        for shard in table.shards():
            for row in table.read(shard).to_pylist():
                rows[row["id"]] |= row
    return {ident: row for ident, row in rows.items() if row["state"] == "kept"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return metadata_corpus(tmp_path_factory.mktemp("planned") / "c", 5, 60)


@pytest.fixture
def pieces(monkeypatch):
    """Every image shard is a piece, so that there are five partitions."""
    monkeypatch.setattr(plan, "SHARDS_A_PIECE", 1)
    monkeypatch.setattr(plan, "TARS_A_GROUP", 2)


made_up = st.builds(
    ShardSettings,
    resolutions=st.sampled_from([(256,), (512, 128), (256, 512, 1024)]),
    aspects=st.sampled_from(["seven", "forty", ("1x1",), ("4x3", "0.25", "16x9")]),
    crop=st.sampled_from(["centre", "random"]),
    crop_loss=st.sampled_from([0.0, 0.2, 0.35, 0.9]),
    samples_per_tar=st.integers(1, 40),
    seed=st.integers(0, 3),
    caps=st.sampled_from([None, 3, {"B1": 0, "B2": 20}, {"B1": 1000}]),
)


def check_conserved(corpus, made):
    planning = planned(corpus, made, f"sets/any/{next(_numbers)}")
    kept, out = kept_of(corpus), out_of(planning)
    seen = Counter()
    for tar in tars_of(planning):
        assert 0 < tar.rows.num_rows <= made.samples_per_tar
        target = sizes_at(tar.resolution, made.aspect_names(), made.multiple)[tar.aspect]
        assert target == (tar.width, tar.height)
        for row in tar.rows.to_pylist():
            seen[row["id"], tar.resolution] += 1
            record = kept[row["id"]]
            assert (row["shard"], row["row"], row["sha256"]) == (
                record["shard"],
                record["row"],
                record["sha256"],
            )
            left, top, right, bottom = row["crop"]
            assert 0 <= left < right <= record["width"]
            assert 0 <= top < bottom <= record["height"]
            # Nothing is enlarged, and no crop loses more than is allowed.
            assert right - left >= tar.width
            assert bottom - top >= tar.height
            share = (right - left) * (bottom - top) / (record["width"] * record["height"])
            assert 1 - share <= made.crop_loss + 1e-9
    assert set(seen.values()) <= {1}
    assert not seen.keys() & out.keys()
    assert seen.keys() | out.keys() == {(i, side) for i in kept for side in made.resolutions}


@settings(max_examples=3, deadline=None, derandomize=True)
@given(made_up)
def test_every_kept_record_is_in_each_resolution_once_or_left_out_and_nothing_is_enlarged(
    corpus, made
):
    check_conserved(corpus, made)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(made_up)
def test_conservation_of_many_settings(corpus, made):
    check_conserved(corpus, made)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "caps"), quick([(100, CAPS), (None, None), (None, CAPS), (100, None)], 1, 2)
)
def test_the_plan_is_the_same_however_it_is_cut(corpus, pieces, monkeypatch, caps, limit):
    made = ShardSettings(resolutions=(128, 512), samples_per_tar=20, caps=caps)
    found = []
    for shards, tars in ((1, 2), (32, 64)):
        monkeypatch.setattr(plan, "SHARDS_A_PIECE", shards)
        monkeypatch.setattr(plan, "TARS_A_GROUP", tars)
        folder = f"sets/cut/{shards}{caps}{limit}"
        planning = limited(corpus, made, folder, limit)
        assert len(planning.pieces) == -(-5 // shards)
        rows = [(t.path, t.rows) for t in tars_of(planning)]
        found.append((rows, sorted(out_of(planning).items()), planning.totals().kept))
    assert len(found[0][0]) > 10
    assert found[0] == found[1]
    assert found[0][2] == (limit or len(kept_of(corpus)))


def limited(corpus, made, folder, limit):
    """Plans with a limit."""
    shards = corpus.at("selection", TABLES["selection"]).shards()
    planning = plan.Planning(corpus.uri, {}, folder, TABLES, made, plan.pieces_of(shards), limit)
    tars = 0
    for phase in plan.PHASES:
        one = planning.at(phase)
        for number in reversed(range(one.items(tars))):  # in any order of tasks
            tars += one.run(number).extra["tars"]
    return planning


@pytest.mark.slow
def test_caps_take_the_first_by_keyed_order_of_those_that_fit(corpus, pieces):
    made = ShardSettings(resolutions=(256,), caps=9)
    everyone = {
        r["id"]
        for t in tars_of(planned(corpus, made.model_copy(update={"caps": None}), "sets/caps/all"))
        for r in t.rows.to_pylist()
    }
    planning = planned(corpus, made, "sets/caps/9")
    inside = {row["id"] for tar in tars_of(planning) for row in tar.rows.to_pylist()}
    kept, out = kept_of(corpus), out_of(planning)
    for bucket in ("B1", "B2"):
        fits = [i for i in everyone if kept[i]["curriculum"] == bucket]
        first = sorted(fits, key=lambda i: md5(f"shard:0:{i}".encode()).hexdigest())[:9]
        assert {i for i in inside if kept[i]["curriculum"] == bucket} == set(first)
        reasons = {out[i, 256] for i in set(fits) - set(first)}
        assert reasons == {f"over_cap:{bucket}"}


@pytest.mark.slow
def test_the_first_tars_are_a_fair_smaller_set(corpus, pieces):
    """Each stretch from the start has its share of each stratum, to within one record."""
    made = ShardSettings(resolutions=(64,), aspects=("1x1",), crop_loss=0.99, samples_per_tar=10)
    planning = planned(corpus, made, "sets/fair/0")
    kept = kept_of(corpus)
    strata = [
        tuple(kept[row["id"]][n] for n in ("source", "tier", "curriculum", "source.caption"))
        for tar in tars_of(planning)
        for row in tar.rows.to_pylist()
    ]
    totals = Counter(strata)
    assert len(totals) > 20
    for n in range(10, len(strata), 10):
        for stratum, found in (Counter(strata[:n]) | Counter(dict.fromkeys(totals, 0))).items():
            # Where n records of all are, the place is within the rounding of all strata's firsts.
            assert abs(found - totals[stratum] * n / len(strata)) < 2
    for what in range(4):  # sources, tiers, buckets, kinds of captions
        whole = Counter(s[what] for s in strata)
        first = Counter(s[what] for s in strata[:60])
        for name, number in whole.items():
            assert abs(first[name] / 60 - number / len(strata)) < 0.08


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(0, 5))
def test_places_are_a_permutation_in_keyed_order(counts, seed):
    stratum = np.repeat(np.arange(len(counts)), counts)
    rank = np.concatenate([np.arange(n) for n in counts])
    offsets = np.array([offset_of(seed, "b", str(i)) for i in range(len(counts))])
    found = indexes(stratum, rank, np.array(counts), offsets)
    assert sorted(found) == list(range(sum(counts)))
    for one in range(len(counts)):
        assert (np.diff(found[stratum == one]) > 0).all()
