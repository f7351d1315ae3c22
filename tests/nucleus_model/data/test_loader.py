import io
import json
import pickle
import tarfile
from collections import Counter

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.errors import CorpusError
from nucleus_model.data.feed import draw_caption, plan_epoch
from nucleus_model.data.loader import TrainingSet
from tests.support.model import COLORS, Item, colored_items, flat, png, tar_bytes, write_set


def epoch(found, seed=0, number=0, batch_size=4, dropout=0.0):
    """The batches of an epoch, as a trainer takes them."""
    plans = plan_epoch(found.samples, seed=seed, epoch=number, batch_size=batch_size)
    batches = [
        found.batch(plan, [draw_caption(sample, seed, number, dropout) for sample in plan])
        for plan in plans
    ]
    return [batch for batch in batches if batch is not None]


def ids(batches):
    return [[sample.id for sample in batch.samples] for batch in batches]


@pytest.fixture
def mixed(tmp_path):
    items = colored_items(10) + colored_items(7, (80, 48), 10) + colored_items(1, (48, 80), 17)
    return write_set(tmp_path / "set", items)


def test_every_sample_once_an_epoch_in_batches_of_one_bucket(mixed):
    batches = epoch(TrainingSet(str(mixed)))
    assert Counter(key for batch in ids(batches) for key in batch) == {
        f"{number:032x}": 1 for number in range(18)
    }
    assert sorted(len(batch.samples) for batch in batches) == [1, 2, 3, 4, 4, 4]
    for batch in batches:
        (bucket,) = {sample.bucket for sample in batch.samples}
        assert batch.images.shape == (len(batch.samples), bucket[1], bucket[0], 3)
        assert batch.images.dtype == np.uint8


def test_order_follows_seed_and_epoch_alone(mixed, tmp_path):
    found = TrainingSet(str(mixed))
    assert ids(epoch(found)) == ids(epoch(found))
    assert ids(epoch(found)) != ids(epoch(found, seed=1))
    assert ids(epoch(found)) != ids(epoch(found, number=1))
    items = colored_items(1, (48, 80), 17) + colored_items(7, (80, 48), 10) + colored_items(10)
    other = TrainingSet(str(write_set(tmp_path / "other", items, tar_size=3)))
    assert ids(epoch(found)) == ids(epoch(other))
    backwards = plan_epoch(found.samples[::-1], seed=0, epoch=0, batch_size=4)
    assert [[sample.id for sample in batch] for batch in backwards] == ids(epoch(found))


def test_the_right_image_goes_with_the_right_caption(mixed):
    for batch in epoch(TrainingSet(str(mixed))):
        for image, caption in zip(batch.images, batch.captions, strict=True):
            color = next(name for name in COLORS if name in caption)
            assert np.abs(image.astype(int) - COLORS[color]).max() == 0


def test_crop_then_size(tmp_path):
    pixels = np.zeros((100, 200, 3))
    pixels[:, 120:] = (220, 30, 30)
    item = Item(0, (48, 32), image=png(pixels), crop=[125, 10, 185, 50])
    found = TrainingSet(str(write_set(tmp_path, [item])))
    image = found.image(found.samples[0])
    assert image.shape == (32, 48, 3)
    assert (image == (220, 30, 30)).all()


def test_a_sample_without_captions_has_the_empty_text(tmp_path):
    found = TrainingSet(str(write_set(tmp_path, [Item(0, captions=[])])))
    assert epoch(found)[0].captions == ("",)


class Bomb:
    def __reduce__(self):
        return (io.open, ("exploded", "w"))


def test_hostile_members_are_ignored_never_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    poison = pickle.dumps(Bomb())
    key = f"{99:032x}"
    names = [f"{key}.{end}" for end in ("pyd", "pkl", "pickle", "pth", "pt", "npy", "cbor")]
    extra = [*((name, poison) for name in names), ("../../escape.txt", b"out")]
    found = TrainingSet(str(write_set(tmp_path / "set", colored_items(3), extra=extra)))
    assert len(found.samples) == 3
    assert sum(len(batch.samples) for batch in epoch(found)) == 3
    assert found.ignored == len(extra) + 3  # and the three .txt
    assert not (tmp_path / "exploded").exists()
    pickle.loads(poison).close()  # the bomb is a real one
    assert (tmp_path / "exploded").exists()


def test_links_are_not_followed(tmp_path):
    folder = write_set(tmp_path / "set", colored_items(1))
    path = next(folder.rglob("*.tar"))
    buffer = io.BytesIO(path.read_bytes())
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        link = tarfile.TarInfo(f"{5:032x}.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    replace_tar(folder, buffer.getvalue())
    found = TrainingSet(str(folder))
    assert [sample.id for sample in found.samples] == [f"{0:032x}"]


def replace_tar(folder, data, **columns):
    import hashlib

    manifest = pq.read_table(folder / "manifest.parquet").to_pylist()
    (folder / manifest[0]["path"]).write_bytes(data)
    manifest[0] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), **columns}
    pq.write_table(pa.Table.from_pylist(manifest), folder / "manifest.parquet")


def test_a_broken_image_is_named_and_left_out(tmp_path):
    items = colored_items(4)
    items[2].image = items[2].image[:60]
    found = TrainingSet(str(write_set(tmp_path, items)))
    batches = epoch(found)
    assert sorted(key for batch in ids(batches) for key in batch) == [
        f"{number:032x}" for number in (0, 1, 3)
    ]
    assert list(found.failures) == [f"{2:032x}"]
    assert "000000.tar" in found.failures[f"{2:032x}"]


def test_the_cache_is_bounded_and_changes_nothing(mixed):
    large = TrainingSet(str(mixed))
    small = TrainingSet(str(mixed), cache_bytes=30_000)
    for _ in range(2):
        for one, two in zip(epoch(large), epoch(small), strict=True):
            assert (one.images == two.images).all()
    assert len(large._images) == 18
    assert 0 < small._images.bytes <= 30_000


def test_resolutions_are_chosen_by_name(tmp_path):
    folder = write_set(tmp_path, colored_items(2), resolution=64)
    assert TrainingSet(str(folder)).resolution == 64
    with pytest.raises(ValueError, match="no resolution 128; allowed here: 64"):
        TrainingSet(str(folder), resolution=128)


def test_an_object_store_serves_the_same(mixed):
    memory = fsspec.filesystem("memory")
    for file in mixed.rglob("*.*"):
        memory.pipe_file(f"/loader/{file.relative_to(mixed)}", file.read_bytes())
    local, remote = TrainingSet(str(mixed)), TrainingSet("memory://loader")
    assert ids(epoch(local)) == ids(epoch(remote))
    assert (epoch(local)[0].images == epoch(remote)[0].images).all()


def test_a_set_without_manifest_is_not_published(tmp_path):
    with pytest.raises(CorpusError, match=r"manifest.parquet is missing"):
        TrainingSet(str(tmp_path))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:3000], "has 3000 bytes, the manifest says"),
        (lambda data: data[:600] + b"x" + data[601:], "is not the tar of the manifest"),
    ],
)
def test_a_tar_that_changed_is_an_error(mixed, damage, message):
    path = sorted(mixed.rglob("*.tar"))[0]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorpusError, match=message):
        TrainingSet(str(mixed))


def test_a_path_that_leads_out_of_the_set_is_refused(mixed):
    replace_tar(mixed, b"", path="../outside.tar")
    with pytest.raises(CorpusError, match="leads out of the set"):
        TrainingSet(str(mixed))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([(f"{0:032x}.png", flat("red"))], "unpaired: 0000"),
        (
            [(f"{0:032x}.png", flat("red")), (f"{0:032x}.json", b"[]")],
            "json is not as it should be",
        ),
        ([(f"{0:032x}.png", flat("red")), (f"{0:032x}.json", b"{")], "json is not as it should be"),
    ],
)
def test_samples_that_are_not_whole_are_refused(tmp_path, files, message):
    folder = write_set(tmp_path, colored_items(1))
    replace_tar(folder, tar_bytes(files))
    with pytest.raises(CorpusError, match=message):
        TrainingSet(str(folder))


def test_a_sample_of_another_bucket_is_refused(tmp_path):
    folder = write_set(tmp_path, colored_items(1))
    replace_tar(folder, next(folder.rglob("*.tar")).read_bytes(), width=80)
    with pytest.raises(CorpusError, match="64 x 64, its aspect bucket is 80 x 64"):
        TrainingSet(str(folder))


def test_an_id_that_is_not_the_members_name_is_refused(tmp_path):
    folder = write_set(tmp_path, colored_items(1))
    info = {
        "id": "f" * 32,
        "captions": [],
        "target_width": 64,
        "target_height": 64,
        "crop": [0, 0, 1, 1],
    }
    files = [(f"{0:032x}.png", flat("red")), (f"{0:032x}.json", json.dumps(info).encode())]
    replace_tar(folder, tar_bytes(files))
    with pytest.raises(CorpusError, match="says that its id is 'ffff"):
        TrainingSet(str(folder))
