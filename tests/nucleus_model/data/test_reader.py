import fsspec
import pytest

from nucleus_data.errors import CorpusError
from nucleus_data.pixels import PixelError
from nucleus_model.data.loader import TrainingSet
from nucleus_model.data.reader import Reader, Request
from tests.support.loading import STREAMS, Opened
from tests.support.sets import make_set


@pytest.fixture
def remote(tmp_path):
    folder = make_set(tmp_path / "set", {"64/1x1": 40}, a_tar=40)
    memory = fsspec.filesystem("memory")
    memory.put(folder.url(), "/reader", recursive=True)
    yield Opened("memory://reader", **STREAMS)
    memory.rm("/reader", recursive=True)


@pytest.mark.parametrize(("joined", "reads"), [(False, 40), (True, 2)])
def test_neighbours_are_read_at_once_where_they_can_be_kept(remote, joined, reads):
    tables, asked = remote.set.tables, []
    real = tables.store.read_range
    tables.store.read_range = lambda *given: asked.append(given) or real(*given)
    reader = Reader(tables, joined=joined)
    found = [bytes(reader.data(0, row)) for row in range(40)]
    places = tables.places(0)
    whole = tables.store.read(tables.path(0))
    assert found == [whole[p["offset"] : p["offset"] + p["size"]] for p in places]
    assert len(asked) == reads


def test_a_tar_that_is_not_there_is_an_error(remote):
    remote.set.store.fs.rm("/reader/64/1x1/000000.tar")
    with pytest.raises(CorpusError, match=r"000000.tar is missing; run: nucleus verify"):
        Reader(remote.set.tables).data(0, 0)


@pytest.mark.parametrize("left", [0, 100])
def test_pictures_behind_the_end_of_a_tar_that_is_cut_off_are_said_to_be(tmp_path, left):
    folder = make_set(tmp_path / "set", {"64/1x1": 4}, a_tar=4)
    opened = TrainingSet(folder.url())
    sample = max(opened.samples, key=lambda one: one.offset)
    (tmp_path / "set" / sample.tar).write_bytes(
        (tmp_path / "set" / sample.tar).read_bytes()[: sample.offset + left]
    )
    said = f"truncated: the tar is cut off: {left} of the picture's {sample.size:,} bytes"
    with pytest.raises(PixelError, match=said):
        opened.image(sample)
    row = [p["offset"] for p in opened.tables.places(0)].index(sample.offset)
    reader = opened.reader()
    with pytest.raises(PixelError, match=said):
        reader.decoded(0, row, reader.data(0, row), sample.bucket)


def test_a_part_of_a_request_is_of_some_of_its_samples():
    asked = Request(
        [5, 6, 7], [1, 2, 3], (64, 32), ["4", "4", "4+1"], 9, 0.1, {"web": 1}, [0, 1, 2], 77
    )
    part = asked.part([2, 0])
    assert part == Request([7, 5], [3, 1], (64, 32), ["4+1", "4"], 9, 0.1, {"web": 1}, [2, 0], 77)
    assert Request.from_json(part.to_json()) == part


def test_pictures_that_are_not_needed_are_skipped_in_a_part_too():
    asked = Request([5] * 4, [0, 1, 2, 3], (8, 8), ["0"] * 4, 0, 0.0, None, range(4), skip=(1, 2))
    part = asked.part([1, 3, 2])
    assert part.skip == (0, 2)
    assert Request.from_json(part.to_json()) == part
