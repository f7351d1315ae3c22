import gc
from pathlib import Path

import fsspec
import numpy as np
import pytest

from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.sets.index import index_name
from nucleus_data.sets.layout import SetFolder
from nucleus_model.data.loader import TrainingSet
from nucleus_model.settings.loading import LoaderSettings
from tests.support.loading import Opened
from tests.support.model import COLORS, Item, colored_items, png, write_set
from tests.support.sets import EDITION, add_edition


@pytest.fixture
def mixed(tmp_path):
    items = colored_items(10) + colored_items(7, (80, 48), 10) + colored_items(1, (48, 80), 17)
    return write_set(tmp_path / "set", items)


def test_it_starts_from_the_indexes(mixed):
    for path in mixed.rglob("*.tar"):
        path.write_bytes(b"")  # none is read
    found = TrainingSet(str(mixed))
    assert (found.count, found.resolution, found.exact) == (18, 64, True)
    assert [(b.aspect, b.size, b.samples, len(b.tars)) for b in found.buckets] == [
        ("48x80", (48, 80), 1, 1),
        ("64x64", (64, 64), 10, 2),
        ("80x48", (80, 48), 7, 1),
    ]
    assert [sample.id for sample in found.samples] == [f"{number:032x}" for number in range(18)]
    assert found.tables.whole().itemsize == 48


def test_the_right_image_goes_with_the_right_caption(mixed):
    found = TrainingSet(str(mixed))
    batch = found.batch(found.samples[:10], [sample.captions[-1] for sample in found.samples[:10]])
    for image, caption in zip(batch.images, batch.captions, strict=True):
        color = next(name for name in COLORS if name in caption)
        assert np.abs(image.astype(int) - COLORS[color]).max() == 0


def test_crop_then_size(tmp_path):
    pixels = np.zeros((100, 200, 3))
    pixels[:, 120:] = (220, 30, 30)
    item = Item(0, (48, 32), image=png(pixels), crop=[125, 10, 185, 50])
    made = Opened(write_set(tmp_path, [item]))
    image = made.set.image(made.set.samples[0])
    assert image.shape == (32, 48, 3)
    assert (image == (220, 30, 30)).all()
    ((*_, loaded),) = made.batches(1)
    assert loaded == image.tobytes()


def test_a_sample_without_captions_is_left_out_and_counted(tmp_path):
    found = TrainingSet(str(write_set(tmp_path, [Item(0, captions=[]), Item(1)])))
    assert [sample.id for sample in found.samples] == [Item(1).id]
    assert (found.count, found.without) == (1, 1)


def test_either_edition_is_taken(tmp_path):
    folder = write_set(tmp_path, colored_items(3))
    made = SetFolder(Store(str(folder)))
    rows = made.manifest_table().to_pylist()
    add_edition(made, rows, config_hash="d" * 16, name="short", say=lambda s, r: (["new"], ["a:b"]))
    with pytest.raises(RequestError, match="several caption editions"):
        TrainingSet(str(folder))
    short, first = (TrainingSet(str(folder), edition=name) for name in ("short", EDITION))
    assert {s.captions for s in short.samples} == {("new",)}
    assert all(" square" in sample.captions[1] for sample in first.samples)
    assert short.digest != first.digest, "a run of one does not go on with the other"


def test_a_broken_image_is_named_and_left_out(tmp_path):
    items = colored_items(4)
    items[2].image = items[2].image[:60]
    found = TrainingSet(str(write_set(tmp_path, items)))
    assert len(found.batch(found.samples, [""] * 4).ids) == 3
    assert list(found.failures) == [f"{2:032x}"]
    assert "000000.tar" in found.failures[f"{2:032x}"]


def test_the_cache_is_bounded_and_changes_nothing(mixed):
    large, small = Opened(mixed), Opened(mixed, image_cache_bytes=30_000)
    small.set._images.limit = 30_000
    for _ in range(2):
        assert large.batches(6) == small.batches(6)
    assert len(large.set._images) == 18
    assert small.set._images.bytes <= 30_000


def test_resolutions_are_chosen_by_name(tmp_path):
    folder = write_set(tmp_path, colored_items(2), resolution=64)
    assert TrainingSet(str(folder)).resolution == 64
    with pytest.raises(ValueError, match="no resolution 128; available: 64"):
        TrainingSet(str(folder), resolution=128)


@pytest.mark.parametrize("order", [{}, {"exact_below": 0, "streams": 4}])
def test_an_object_store_serves_the_same_and_is_read_once(mixed, tmp_path, order):
    memory = fsspec.filesystem("memory")
    for file in mixed.rglob("*.*"):
        memory.pipe_file(f"/loader/{file.relative_to(mixed)}", file.read_bytes())
    try:
        folder = {"cache_folder": str(tmp_path / "copies")}
        remote = Opened("memory://loader", loader=folder, **order)
        assert remote.batches(9) == Opened(mixed, **order).batches(9)
        made = remote.set.tables.files.made
        assert remote.batches(9) == Opened("memory://loader", loader=folder, **order).batches(9)
        assert remote.set.tables.files.made == made
    finally:
        memory.rm("/loader", recursive=True)


@pytest.mark.slow
def test_copies_are_removed_at_the_end_or_stay_where_they_are_asked_for(mixed, tmp_path):
    found = TrainingSet(str(mixed))
    copies = Path(found.source.copies)
    assert len(found.samples) == 18
    assert list(copies.rglob("*"))
    del found
    gc.collect()
    assert not copies.exists()
    kept = LoaderSettings(cache_folder=str(tmp_path / "copies"))
    assert len(TrainingSet(str(mixed), loader=kept).samples) == 18
    assert any((tmp_path / "copies").rglob("captions/*"))


def test_a_set_without_manifest_is_not_published(tmp_path):
    with pytest.raises(CorpusError, match=r"manifest.parquet is missing"):
        TrainingSet(str(tmp_path))


def test_an_index_or_an_edition_of_other_samples_is_an_error(mixed):
    made = SetFolder(Store(str(mixed)))
    first, second = (tar.path for tar in made.manifest()[1:3])
    edition, index = (mixed / name for name in (made.edition().file(first), index_name(first)))
    content = edition.read_bytes()
    edition.write_bytes(edition.read_bytes()[::-1])
    with pytest.raises(CorpusError, match=r"captions/.*parquet"):
        _ = TrainingSet(str(mixed)).samples
    add_edition(made, [{"path": second}], config_hash="d" * 16)
    other = (mixed / made.edition("dddd").file(second)).read_bytes()
    edition.write_bytes(other)
    with pytest.raises(CorpusError, match="has 7 rows in its captions, but 3 samples in the man"):
        _ = TrainingSet(str(mixed), edition=EDITION).samples
    edition.write_bytes(content)
    index.write_bytes((mixed / index_name(second)).read_bytes())
    with pytest.raises(CorpusError, match="has 7 rows in its index, but 3 samples in the man"):
        TrainingSet(str(mixed), edition=EDITION)
    index.unlink()
    with pytest.raises(CorpusError, match="has no index beside it"):
        TrainingSet(str(mixed), edition=EDITION)


def test_captions_of_other_ids_are_never_taken(tmp_path):
    folders = [write_set(tmp_path / n, colored_items(3, first=f)) for n, f in (("a", 0), ("b", 5))]
    one, other = (next(folder.glob("captions/*/64/*/000000.parquet")) for folder in folders)
    one.write_bytes(other.read_bytes())
    with pytest.raises(CorpusError, match="and the index of its tar have different ids"):
        _ = TrainingSet(str(folders[0])).samples


def test_a_sample_that_is_there_twice_is_an_error(tmp_path):
    folder = write_set(tmp_path, colored_items(2) + colored_items(1, (80, 48)))
    with pytest.raises(CorpusError, match=r"sample 0{32} is in both 64/64x64/.*tar and 64/80x48"):
        TrainingSet(str(folder))
