import hashlib

import numpy as np
import pyarrow as pa
import pytest

from nucleus_data.corpus import images
from nucleus_data.corpus.images import read_images
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tar_names import tar_name
from nucleus_data.errors import CorpusError
from nucleus_data.world.corpora import small_corpus, write_shard

IMAGE = 40_000


@pytest.fixture
def corpus(tmp_path):
    made = small_corpus(tmp_path, shards=0)
    content = {f"{i}.bin": np.random.default_rng(i).bytes(IMAGE) for i in range(40)}
    write_shard(made, 0, content)
    made.content = list(content.values())
    return made


@pytest.fixture
def requests(monkeypatch):
    """(offset, size) of every ranged read."""
    made = []
    read = Store.read_range

    def counted(self, name, offset, size):
        made.append((offset, size))
        return read(self, name, offset, size)

    monkeypatch.setattr(Store, "read_range", counted)
    return made


def records(corpus, rows):
    table = corpus.records.read(0)
    return table.filter(pa.array([r in rows for r in table.column("row").to_pylist()]))


def tar_size(corpus):
    return int(next(iter(corpus.records.metadata(0)))["tar_size"])


def read(corpus, rows):
    found = list(read_images(corpus.store, 0, records(corpus, rows), tar_size(corpus)))
    assert found == [corpus.content[r] for r in rows]


def test_most_of_a_tar_is_read_in_one_request(corpus, requests):
    read(corpus, list(range(40)))
    assert len(requests) == 1
    requests.clear()
    read(corpus, list(range(0, 40, 3)))
    assert len(requests) == 1


def test_a_few_images_are_read_by_ranges_alone(corpus, requests):
    read(corpus, [2, 20, 39])
    assert [size for _, size in requests] == [IMAGE] * 3
    requests.clear()
    read(corpus, [5, 6, 30])  # neighbours come together, with the header between them
    assert [size for _, size in requests] == [2 * IMAGE + 512 + -IMAGE % 512, IMAGE]


def test_nothing_wanted_is_nothing_read(corpus, requests):
    read(corpus, [])
    assert requests == []


def test_a_large_tar_is_read_a_block_at_a_time(corpus, requests, monkeypatch):
    monkeypatch.setattr(images, "BLOCK", 5 * IMAGE)
    stream = read_images(corpus.store, 0, records(corpus, range(40)), tar_size(corpus))
    next(stream)
    assert len(requests) == 1  # no further ahead than a block
    assert len(list(stream)) == 39
    assert len(requests) == 10
    assert max(size for _, size in requests) <= 5 * IMAGE


def test_an_image_larger_than_a_block_is_read_all_the_same(corpus, monkeypatch):
    monkeypatch.setattr(images, "BLOCK", 100)
    read(corpus, list(range(40)))


def test_a_missing_tar_is_an_error(corpus):
    corpus.store.remove(tar_name(0))
    with pytest.raises(CorpusError, match=r"images/000000.tar is missing, .* restore it"):
        read(corpus, [0])


@pytest.mark.parametrize("change", [lambda data: data + b"more", lambda data: data[:-5000]])
def test_a_tar_of_another_size_is_an_error_before_anything_is_read(corpus, requests, change):
    data = corpus.store.read(tar_name(0))
    corpus.store.put(tar_name(0), change(data))
    with pytest.raises(CorpusError, match=f"changed: .* but had {len(data)} when"):
        read(corpus, [0])
    assert requests == []


def test_an_image_with_another_byte_is_an_error_that_names_it(corpus):
    record = records(corpus, [3]).to_pylist()[0]
    data = bytearray(corpus.store.read(tar_name(0)))
    data[record["offset"] + 17] ^= 1
    corpus.store.put(tar_name(0), bytes(data))
    read(corpus, [2, 4])
    with pytest.raises(CorpusError, match=rf"changed: {record['file']} no longer has the SHA-256"):
        read(corpus, [2, 3])


def test_what_comes_back_has_the_digest_of_the_record(corpus):
    table = records(corpus, range(40))
    found = read_images(corpus.store, 0, table, tar_size(corpus))
    digests = [hashlib.sha256(image).hexdigest() for image in found]
    assert digests == table.column("sha256").to_pylist()
