"""Where each record goes: every one is in each resolution or left out with its reason."""

import json
from collections import Counter

import pytest

from nucleus_data.sets.buckets import SEVEN, sizes_at
from tests.support.sharded import left_out, manifest, nearest, samples, shard

LOSS = 0.35


def sizes_of(made):
    rows = made.table("inspect.file").to_arrow_table().to_pylist()
    return {r["id"]: (r["width"], r["height"]) for r in rows if r["id"] in made.numbers}


def covers(picture, target):
    """Whether the largest box of the target's ratio is as large as it, and what it loses."""
    scale = min(picture[0] / target[0], picture[1] / target[1])
    lost = 1 - target[0] * target[1] * scale * scale / (picture[0] * picture[1])
    return scale >= 1, lost


@pytest.mark.slow
def test_every_record_is_in_each_resolution_or_left_out_with_the_reason(made, training_set):
    seen = {64: Counter(), 128: Counter()}
    for entry in manifest(training_set):
        seen[entry["resolution"]].update(samples(training_set, entry).keys())
    out = left_out(training_set)
    assert 0 < len(seen[128]) < len(seen[64])
    for resolution, counts in seen.items():
        sizes = sizes_at(resolution, SEVEN, 8)
        assert set(counts.values()) == {1}  # none twice
        for ident, picture in sizes_of(made).items():
            enough, lost = covers(picture, sizes[nearest(*picture, sizes)])
            reason = "too_small" if not enough else "crop_loss" if lost > LOSS else None
            assert out.get((ident, resolution)) == reason
            assert (ident in counts) == (reason is None)  # none lost


@pytest.mark.slow
def test_tars_are_filled_before_the_next_begins(training_set):
    by_bucket = {}
    for entry in manifest(training_set):
        by_bucket.setdefault((entry["resolution"], entry["aspect"]), []).append(entry)
    assert any(len(entries) > 1 for entries in by_bucket.values())
    for entries in by_bucket.values():
        assert [e["path"][-10:] for e in entries] == [f"{i:06d}.tar" for i in range(len(entries))]
        assert all(entry["samples"] == 3 for entry in entries[:-1])


@pytest.mark.slow
def test_the_bucket_is_the_nearest_one(training_set):
    seen = set()
    for entry in manifest(training_set):
        sizes = sizes_at(entry["resolution"], SEVEN, 8)
        for sample in samples(training_set, entry).values():
            about = json.loads(sample["json"])
            wanted = nearest(about["original_width"], about["original_height"], sizes)
            assert entry["aspect"] == wanted
            seen.add(entry["aspect"])
    assert len(seen) >= 4


@pytest.mark.slow
def test_the_order_is_another_with_another_seed(made):
    def order(seed):
        _, folder = shard(made, f"shard.seed={seed}", "shard.samples_per_tar=1000")
        entries = [e for e in manifest(folder) if e["path"] == "64/1x1/000000.tar"]
        return [i for e in entries for i in samples(folder, e)]

    first, second = order(0), order(1)
    assert sorted(first) == sorted(second)
    assert first != second
    assert first != sorted(first)
