import pyarrow as pa
import pytest

from nucleus_data.corpus.exchanged import get, put
from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError
from nucleus_data.world.corpora import small_corpus


def test_what_passes_hand_on_is_the_same_or_an_error(tmp_path):
    store = small_corpus(tmp_path / "c", shards=0).store
    for _ in range(2):
        put(store, "x.arrow", pa.table({"row": [1]}))
    assert get(store, "x.arrow").to_pydict() == {"row": [1]}
    assert get(store, "y.arrow") is None
    with pytest.raises(CorpusError, match=r"x\.arrow exists with other content"):
        put(store, "x.arrow", pa.table({"row": [2]}))


NAN = float("nan")


def with_bytes_under_its_null(number):
    """One null and two values, the null with some number under it."""
    numbers = pa.array([number, 7, 8], pa.int64()).buffers()[1]
    return pa.Array.from_buffers(pa.int64(), 3, [pa.py_buffer(bytes([0b110])), numbers])


def table(number, *, value=NAN):
    return pa.table(
        {"n": with_bytes_under_its_null(number), "f": [value, None, 1.5], "t": ["a", None, "b"]}
    )


def test_equal_rows_are_no_conflict_whatever_their_bytes(tmp_path):
    store = Store(str(tmp_path))
    put(store, "x/a.arrow", table(1))
    before = store.read("x/a.arrow")
    put(store, "x/a.arrow", table(2))
    put(store, "y.arrow", table(2))
    assert store.read("x/a.arrow") == before != store.read("y.arrow")
    assert get(store, "x/a.arrow").column("n").to_pylist() == [None, 7, 8]
    assert get(store, "none") is None


@pytest.mark.parametrize(
    "other",
    [
        table(1, value=0.5),
        table(1).slice(1),
        table(1).append_column("more", [[1, 2, 3]]),
        table(1).rename_columns(["n", "f", "u"]),
    ],
)
def test_other_rows_are(tmp_path, other):
    store = Store(str(tmp_path))
    put(store, "a.arrow", table(1))
    with pytest.raises(CorpusError, match=r"a\.arrow exists with other content"):
        put(store, "a.arrow", other)
