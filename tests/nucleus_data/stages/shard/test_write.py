import hashlib
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nucleus_data.errors import CorpusError
from nucleus_data.pixels import open_picture
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.sets.buckets import bucket_size
from nucleus_data.sets.index import index_name
from nucleus_data.sets.provenance import FIELDS
from nucleus_data.stages.shard.publish import PublishTask
from nucleus_data.stages.shard.settings import ShardSettings
from tests.support.sharded import content_of, left_out, made_files, manifest, samples, shard


def test_the_manifest_says_what_is_there(training_set):
    entries = manifest(training_set)
    for entry in entries:
        data = Path(training_set, entry["path"]).read_bytes()
        index = Path(training_set, index_name(entry["path"])).read_bytes()
        assert entry["bytes"] == len(data)
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert entry["index_sha256"] == hashlib.sha256(index).hexdigest()
        assert entry["samples"] == len(samples(training_set, entry)) <= 3
        size = bucket_size(entry["resolution"], entry["aspect"], 8)
        assert (entry["width"], entry["height"]) == size
        assert entry["path"].startswith(f"{entry['resolution']}/{entry['aspect']}/0000")
    paths = [entry["path"] for entry in entries]
    assert len(set(paths)) == len(paths)


def test_a_sample_holds_the_crop_and_where_it_is_from(made, training_set):
    originals = {}
    for number in (0, 1):
        for row in made.records.read(number).to_pylist():
            name = f"images/{number:06d}.tar"
            data = made.store.read_range(name, row["offset"], row["size"])
            originals[row["id"]] = (row, data)
    seen = Counter()
    for entry in manifest(training_set):
        target = (entry["width"], entry["height"])
        for ident, sample in samples(training_set, entry).items():
            assert list(sample) == ["jpg", "json"]
            row, data = originals[ident]
            content = json.loads(sample["json"])
            assert list(content) == sorted(FIELDS.names)
            for name in ("id", "key", "sha256", "source"):
                assert content[name] == row[name]
            assert content["url"] is content["licence"] is None
            assert (content["width"], content["height"]) == target
            picture = open_picture(data)
            wanted = picture.rgb(crop=tuple(content["crop"]), size=target)
            original = (content["original_width"], content["original_height"])
            assert original == (picture.header.width, picture.header.height)
            with Image.open(io.BytesIO(sample["jpg"])) as opened:
                assert (opened.size, opened.mode, opened.format) == (target, "RGB", "JPEG")
                assert psnr(np.asarray(opened), wanted) > 25
            seen[entry["resolution"]] += 1
    assert seen[64] > seen[128] > 0


def psnr(one, other):
    difference = one.astype(float) - other
    return 10 * np.log10(255**2 / (difference**2).mean())


def test_webdataset_reads_it(made, training_set):
    from webdataset.tariterators import group_by_keys, tar_file_expander

    seen = {}
    for entry in manifest(training_set):
        with Path(training_set, entry["path"]).open("rb") as stream:
            files = tar_file_expander([{"url": entry["path"], "stream": stream}])
            seen |= {s["__key__"]: s for s in group_by_keys(files)}
    out = {ident for ident, resolution in left_out(training_set) if resolution == 64}
    assert set(seen) == set(made.numbers) - out
    for ident, sample in seen.items():
        assert json.loads(sample["json"])["id"] == ident
        with Image.open(io.BytesIO(sample["jpg"])) as opened:
            opened.load()


@pytest.mark.slow
def test_the_bytes_are_the_same_in_every_run_and_order_of_tasks(made, monkeypatch):
    _, folder = shard(made)
    first = content_of(folder)
    assert any(name.endswith(".tar") for name in first)
    for file in made_files(folder).values():
        file.unlink()
    monkeypatch.setattr(InlineLoop, "arranged", lambda self, items: list(items)[::-1])
    _, again = shard(made)
    assert again == folder
    assert content_of(folder) == first


def test_the_manifest_needs_every_note(made, training_set):
    path = training_set.removeprefix(made.store.path("") + "/") + "0"  # one that is not published
    with pytest.raises(CorpusError, match="is not published: tar 0 of 3 was not written"):
        PublishTask(made.uri, {}, path, 3, ShardSettings()).run(0)
