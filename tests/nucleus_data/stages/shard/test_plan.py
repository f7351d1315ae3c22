import hashlib
import json
from collections import Counter

import pyarrow.parquet as pq
import pytest

from nucleus_data.sets.buckets import SIZES_1024
from tests.support.sharded import manifest, nearest, samples, shard


def test_every_captioned_record_is_in_one_tar_of_each_resolution(made, training_set):
    captioned = {i for i, n in made.numbers.items() if n % 10}
    sizes = {
        r["id"]: r["width"] * r["height"]
        for r in made.table("inspect.file").to_arrow_table().to_pylist()
    }
    seen = {64: Counter(), 128: Counter()}
    for entry in manifest(training_set):
        seen[entry["resolution"]].update(samples(training_set, entry).keys())
    assert seen[64] == Counter(captioned)  # none lost, none twice
    assert seen[128] == Counter(i for i in captioned if sizes[i] >= 128 * 128)
    assert 0 < len(seen[128]) < len(seen[64])
    left = pq.read_table(f"{training_set}/left_out.parquet").to_pylist()
    assert left == [
        {"id": i, "reason": "no_caption"} for i in sorted(set(made.numbers) - captioned)
    ]


def test_tars_are_filled_before_the_next_begins(training_set):
    by_bucket = {}
    for entry in manifest(training_set):
        by_bucket.setdefault((entry["resolution"], entry["aspect"]), []).append(entry)
    assert any(len(entries) > 1 for entries in by_bucket.values())
    for entries in by_bucket.values():
        assert [e["path"][-10:] for e in entries] == [f"{i:06d}.tar" for i in range(len(entries))]
        assert all(entry["samples"] == 3 for entry in entries[:-1])


@pytest.mark.slow
def test_tars_are_split_by_bytes_too(made):
    limit = 20_000
    _, folder = shard(made, "shard.samples_per_tar=1000", f"shard.bytes_per_tar={limit}")
    sizes = {}
    for entry in manifest(folder):
        images = [
            len(data)
            for sample in samples(folder, entry).values()
            for suffix, data in sample.items()
            if suffix not in ("json", "txt")
        ]
        assert len(images) == 1 or sum(images) <= limit
        sizes.setdefault((entry["resolution"], entry["aspect"]), []).append(entry["samples"])
    assert any(len(found) > 1 for found in sizes.values())
    assert sum(sum(found) for (r, _), found in sizes.items() if r == 64) == 36


def test_a_picture_is_in_the_bucket_of_the_nearest_aspect_ratio(made, training_set):
    seen = set()
    for entry in manifest(training_set):
        for sample in samples(training_set, entry).values():
            content = json.loads(sample["json"])
            assert entry["aspect"] == nearest(content["width"], content["height"], SIZES_1024)
            seen.add(entry["aspect"])
    assert len(seen) >= 5


@pytest.mark.slow
def test_the_order_is_that_of_a_keyed_hash(made):
    def order(seed):
        _, folder = shard(made, f"shard.seed={seed}", "shard.samples_per_tar=1000")
        entries = [e for e in manifest(folder) if e["path"] == "64/1x1/000000.tar"]
        return [i for e in entries for i in samples(folder, e)]

    first, second = order(0), order(1)
    assert sorted(first) == sorted(second)
    assert first != second
    assert first != sorted(first)
    keyed = sorted(first, key=lambda i: hashlib.md5(f"shard:0:{i}".encode()).hexdigest())
    assert first == keyed
