import hashlib
import io
import json
import math
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from webdataset.tariterators import group_by_keys, tar_file_expander

from nucleus_data.corpus import Corpus
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.sets.buckets import SIZES_1024, aspect_sql, bucket_size, centre_crop
from nucleus_data.sets.layout import SetFolder, note_name
from nucleus_data.stages.shard.write import TarTask, publish_set
from nucleus_data.world.corpora import write_shard
from tests.support import curated
from tests.support.curated import picture

OVERRIDES = (
    "select.rules={small: 'least(width, height) < 40'}",
    "shard.resolutions=[64, 128]",
    "shard.multiple=8",
    "shard.samples_per_tar=3",
)
SIZES = [(96, 64), (64, 96), (64, 64), (160, 90), (200, 200), (130, 128), (90, 160), (80, 60)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A corpus of 40 pictures in two shards, selected and captioned; its training set is not made.

    Captions by the picture's number: divisible by 10, none; odd, a web caption; the variant `short`
    for all others but multiples of 5 (failed there), `long` for those below 20.
    """
    folder = tmp_path_factory.mktemp("set") / "c"
    corpus = Corpus(str(folder), create=True)
    forms = [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")]
    for shard in (0, 1):
        images, web = {}, {}
        for n in range(20 * shard, 20 * shard + 20):
            form, ending = forms[n % 3]
            images[f"{n}.{ending}"] = picture(n, SIZES[n % len(SIZES)], form)
            web[f"{n}.{ending}"] = f" web {n} " if n % 2 else "  "
        write_shard(
            corpus, shard, {**images, f"tiny{shard}.png": picture(99 + shard, (20, 20))}, web
        )
    curated.inspect(corpus)
    run = curated.run(folder, "curate", *OVERRIDES)
    run.do("dedup")
    states = run.select()
    assert (states["kept"], states["rejected"]) == (40, 2)
    numbers = {}
    for record in corpus.table("records").to_arrow_table().to_pylist():
        if not record["key"].startswith("tiny"):
            numbers[record["id"]] = int(record["key"].split(".")[0])
    short = {i: f"short {n}" if n % 5 else None for i, n in numbers.items() if n % 10}
    long = {i: f"long {n}: ünïcode\nand lines" for i, n in numbers.items() if n < 20 and n % 10}
    curated.write_captions(corpus, run.tables["caption.short"], "short", short)
    curated.write_captions(corpus, run.tables["caption.long"], "long", long)
    corpus.numbers = numbers
    return corpus


def shard(corpus, *overrides, said=None):
    """Makes the set; returns its folder, relative and as a path."""
    run = curated.run(corpus.uri, "shard", *OVERRIDES, *overrides, said=said)
    run.do("shard")
    return run, corpus.store.path(run.training_set)


def manifest(folder):
    return pq.read_table(f"{folder}/manifest.parquet").to_pylist()


def samples(folder, entry):
    """id -> member suffix -> bytes, in the tar's order, by plain tarfile."""
    found = {}
    with tarfile.open(f"{folder}/{entry['path']}") as tar:
        for member in tar:
            key, suffix = member.name.split(".")
            found.setdefault(key, {})[suffix] = tar.extractfile(member).read()
    return found


@pytest.fixture
def training_set(made):
    return shard(made)[1]


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


def test_a_picture_is_in_the_bucket_of_the_nearest_aspect_ratio(made, training_set):
    seen = set()
    for entry in manifest(training_set):
        for sample in samples(training_set, entry).values():
            content = json.loads(sample["json"])
            assert entry["aspect"] == nearest(content["width"], content["height"], SIZES_1024)
            seen.add(entry["aspect"])
    assert len(seen) >= 5


def nearest(width, height, aspects):
    ratio = math.log(width / height)
    return min(aspects, key=lambda a: abs(math.log(SIZES_1024[a][0] / SIZES_1024[a][1]) - ratio))


def test_nearest_holds_for_every_size(made):
    sizes = [(w, h) for w in range(20, 400, 13) for h in range(20, 400, 13)]
    rows = ", ".join(f"({w}, {h})" for w, h in sizes)
    for aspects in (tuple(SIZES_1024), ("16x9", "1x1"), ("2x3",)):
        query = f"SELECT {aspect_sql(aspects)} FROM (VALUES {rows}) t(width, height)"
        found = [row[0] for row in made.connection().sql(query).fetchall()]
        assert found == [nearest(w, h, aspects) for w, h in sizes]


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from(sorted(SIZES_1024)))
def test_a_crop_is_the_largest_centred_box_of_its_ratio(width, height, aspect):
    target = bucket_size(256, aspect, 16)
    left, top, right, bottom = centre_crop(width, height, target)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert right - left == width or bottom - top == height
    assert abs(left - (width - right)) <= 1
    assert abs(top - (height - bottom)) <= 1
    ratio = target[0] / target[1]
    box = (right - left, bottom - top)
    assert abs(box[0] - box[1] * ratio) <= max(1, ratio) or 1 in box


def test_sizes_of_buckets():
    assert bucket_size(1024, "16x9", 16) == (1344, 768)
    assert bucket_size(64, "1x1", 8) == (64, 64)
    assert bucket_size(256, "3x2", 16) == (320, 208)
    assert bucket_size(8, "9x16", 32) == (32, 32)
    for resolution in (64, 256, 512, 1024):
        for aspect in SIZES_1024:
            assert not any(side % 32 for side in bucket_size(resolution, aspect, 32))


def content_of(folder):
    files = made_files(folder)
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def made_files(folder):
    root = Path(folder)
    return {str(p.relative_to(root)): p for p in root.rglob("*") if p.is_file()}


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


def test_what_is_there_is_not_made_again(made, training_set):
    before = {n: p.stat().st_mtime_ns for n, p in made_files(training_set).items()}
    said = []
    run, again = shard(made, said=said)
    assert again == training_set
    assert {n: p.stat().st_mtime_ns for n, p in made_files(again).items()} == before
    assert said == [f"shard: the set is there already: {again}"]
    assert run.lines == []


@pytest.mark.slow
def test_a_set_is_published_only_when_every_tar_is_there(made, monkeypatch):
    monkeypatch.setattr(InlineLoop, "arranged", lambda self, items: list(items)[:-1])
    run = curated.run(made.uri, "shard", *OVERRIDES, "shard.seed=7")
    with pytest.raises(CorpusError, match=r"is not published: tar (\d+) of \d+ was not written"):
        run.do("shard")
    assert not made.store.exists(f"{run.training_set}/manifest.parquet")
    monkeypatch.undo()
    again, folder = shard(made, "shard.seed=7")
    assert smallest(folder) == 36
    assert again.lines[-1]["already"] > 0
    assert again.lines[-1]["done"] > 0


def test_the_manifest_needs_every_note(made, training_set):
    made_set = training_set.removeprefix(made.store.path("") + "/")
    tars = len(manifest(training_set))
    publish_set(SetFolder(made.store, made_set), tars)
    assert not made.store.exists(f"{made_set}/{note_name(tars)}")
    with pytest.raises(CorpusError, match=f"tar {tars} of {tars + 1} was not written"):
        publish_set(SetFolder(made.store, made_set), tars + 1)


def test_a_failed_tar_leaves_the_set_unpublished(made, monkeypatch):
    work = TarTask.run

    def broken(self, number):
        if number == 2:
            raise OSError("the store is away")
        return work(self, number)

    monkeypatch.setattr(TarTask, "run", broken)
    run, folder = shard(made, "shard.seed=8")
    assert run.failed_shards == 1
    assert "manifest.parquet" not in made_files(folder)
    failures = made.store.read(run.path("failures.jsonl")).splitlines()
    assert json.loads(failures[0])["error"] == "OSError: the store is away"


def test_a_set_s_name_changes_with_what_it_is_made_of_alone(made):
    def name(*overrides, **options):
        run = curated.run(made.uri, "shard", *OVERRIDES, *overrides, dry_run=True, **options)
        run.pin("shard")
        return run.training_set

    first = name()
    assert first.startswith("sets/nano/")
    assert name("resources.shard.workers=1", "report.thumbnails=2", "quick_train.steps=3") == first
    assert name("shard.name=other").startswith("sets/other/")
    others = {
        name("shard.seed=1"),
        name("shard.captions=[short]"),
        name("shard.aspects=[1x1]"),
        name(limit=3),
        name("caption.seed=9"),
    }
    assert len(others) == 5
    assert first not in others


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


def smallest(folder):
    return sum(e["samples"] for e in manifest(folder) if e["resolution"] == 64)


@pytest.mark.slow
def test_a_limit_and_a_sample_choose_fewer(made):
    run = curated.run(made.uri, "shard", *OVERRIDES, limit=7)
    run.do("shard")
    kept = smallest(made.store.path(run.training_set))
    left = pq.read_table(f"{made.store.path(run.training_set)}/left_out.parquet").num_rows
    assert kept + left == 7
    run = curated.run(made.uri, "shard", *OVERRIDES, sample=0.5)
    run.do("shard")
    kept = smallest(made.store.path(run.training_set))
    assert 8 < kept < 28


def test_an_unknown_caption_is_refused_with_the_known_ones(made):
    with pytest.raises(RequestError) as error:
        shard(made, "shard.captions=[source, medium]")
    assert "shard.captions names 'medium', which is no caption variant" in str(error.value)
    assert "allowed: source, long, short" in str(error.value)


def test_no_selection_is_refused_with_the_command(made):
    with pytest.raises(RequestError, match=r"no selection .* run: nucleus select corpus="):
        shard(made, "select.rules.other=width > 9000")


def test_a_dry_run_counts_and_writes_nothing(made):
    before = content_of(made.store.path(""))
    said = []
    run = curated.run(made.uri, "shard", *OVERRIDES, "shard.seed=99", said=said, dry_run=True)
    run.do("shard")
    assert said == ["shard: 40 kept records, 4 of them without a caption"]
    assert content_of(made.store.path("")) == before
