import hashlib
import io
import json
from pathlib import Path

import pytest
from PIL import Image
from webdataset.tariterators import group_by_keys, tar_file_expander

from nucleus_data.errors import CorpusError
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.sets.buckets import bucket_size, centre_crop
from nucleus_data.sets.layout import SetFolder, note_name
from nucleus_data.stages.shard.write import publish_set
from tests.support.sharded import content_of, made_files, manifest, samples, shard


def test_the_manifest_says_what_is_there(made, training_set):
    entries = manifest(training_set)
    total = 0
    for entry in entries:
        data = Path(training_set, entry["path"]).read_bytes()
        assert entry["bytes"] == len(data)
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert entry["samples"] == len(samples(training_set, entry)) <= 3
        size = bucket_size(entry["resolution"], entry["aspect"], 8)
        assert (entry["width"], entry["height"]) == size
        assert entry["path"].startswith(f"{entry['resolution']}/{entry['aspect']}/0000")
        total += entry["samples"]
    paths = [entry["path"] for entry in entries]
    assert len(set(paths)) == len(paths)
    assert total == 36 + sum(e["samples"] for e in entries if e["resolution"] == 128)


def test_a_sample_holds_original_bytes_captions_and_crop(made, training_set):
    originals = {}
    for number in (0, 1):
        for row in made.records.read(number).to_pylist():
            name = f"images/{number:06d}.tar"
            data = made.store.read_range(name, row["offset"], row["size"])
            originals[row["id"]] = (row["file"], data)
    seen = set()
    for entry in manifest(training_set):
        for ident, sample in samples(training_set, entry).items():
            n = made.numbers[ident]
            file, data = originals[ident]
            content = json.loads(sample["json"])
            assert sample[file.rsplit(".", 1)[1]] == data
            with Image.open(io.BytesIO(data)) as image:
                assert (content["width"], content["height"]) == image.size
            target = (entry["width"], entry["height"])
            assert (content["target_width"], content["target_height"]) == target
            assert content["crop"] == centre_crop(content["width"], content["height"], target)
            expected = [("web", f"web {n}")] if n % 2 else []
            expected += [("synthesized:short", f"short {n}")] if n % 5 else []
            expected += [("synthesized:long", f"long {n}: ünïcode\nand lines")] if n < 20 else []
            found = zip(content["caption_sources"], content["captions"], strict=True)
            assert list(found) == expected
            assert sample["txt"].decode() == content["captions"][-1]
            assert content["id"] == ident
            seen.add(len(expected))
    assert seen == {1, 2, 3}


@pytest.mark.slow
def test_the_order_of_captions_is_the_configured_one(made):
    _, folder = shard(made, "shard.captions=[long, source]")
    found = [
        json.loads(s["json"])["caption_sources"]
        for e in manifest(folder)
        for s in samples(folder, e).values()
    ]
    assert ["synthesized:long", "web"] in found
    assert {"synthesized:short"}.isdisjoint(name for names in found for name in names)


def test_webdataset_reads_it(made, training_set):
    seen = {}
    for entry in manifest(training_set):
        with Path(training_set, entry["path"]).open("rb") as stream:
            files = tar_file_expander([{"url": entry["path"], "stream": stream}])
            seen |= {s["__key__"]: s for s in group_by_keys(files)}
    assert set(seen) == {i for i, n in made.numbers.items() if n % 10}
    for ident, sample in seen.items():
        assert json.loads(sample["json"])["id"] == ident
        image = next(sample[form] for form in ("png", "jpg", "webp") if form in sample)
        with Image.open(io.BytesIO(image)) as opened:
            opened.load()


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
    made_set = training_set.removeprefix(made.store.path("") + "/")
    tars = len(manifest(training_set))
    publish_set(SetFolder(made.store, made_set), tars)
    assert not made.store.exists(f"{made_set}/{note_name(tars)}")
    with pytest.raises(CorpusError, match=f"tar {tars} of {tars + 1} was not written"):
        publish_set(SetFolder(made.store, made_set), tars + 1)
