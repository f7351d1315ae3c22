from collections import Counter

import fsspec
import numpy as np
import pytest

from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.sets.index import index_name
from nucleus_data.sets.layout import SetFolder
from nucleus_model.data.feed import draw_caption, plan_epoch
from nucleus_model.data.loader import TrainingSet
from tests.support.model import COLORS, Item, colored_items, png, write_set
from tests.support.sets import EDITION, add_edition


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


def test_a_sample_without_captions_is_left_out_and_counted(tmp_path):
    found = TrainingSet(str(write_set(tmp_path, [Item(0, captions=[]), Item(1)])))
    assert [sample.id for sample in found.samples] == [Item(1).id]
    assert found.without == 1


def test_either_edition_is_taken(tmp_path):
    folder = write_set(tmp_path, colored_items(3))
    made = SetFolder(Store(str(folder)))
    rows = made.manifest_table().to_pylist()
    add_edition(made, rows, config_hash="d" * 16, name="short", say=lambda s, r: (["new"], ["a:b"]))
    with pytest.raises(RequestError, match="several caption editions"):
        TrainingSet(str(folder))
    said = {s.captions for s in TrainingSet(str(folder), edition="short").samples}
    assert said == {("new",)}
    first = TrainingSet(str(folder), edition=EDITION).samples
    assert all(" square" in sample.captions[1] for sample in first)


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


def test_an_index_or_an_edition_of_other_samples_is_an_error(mixed):
    made = SetFolder(Store(str(mixed)))
    first, second = (tar.path for tar in made.manifest()[:2])
    edition = mixed / made.edition().file(first)
    content = edition.read_bytes()
    edition.write_bytes((mixed / made.edition().file(second)).read_bytes())
    with pytest.raises(CorpusError, match="has other samples than the tar"):
        TrainingSet(str(mixed))
    edition.write_bytes(content)
    index = mixed / index_name(first)
    index.write_bytes((mixed / index_name(second)).read_bytes())
    with pytest.raises(CorpusError, match=r"has 3 samples, the manifest says 7"):
        TrainingSet(str(mixed))
    index.unlink()
    with pytest.raises(CorpusError, match="are missing"):
        TrainingSet(str(mixed))
