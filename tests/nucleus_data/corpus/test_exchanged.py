import pyarrow as pa
import pytest

from nucleus_data.corpus.exchanged import get, put
from nucleus_data.errors import CorpusError
from nucleus_data.world.corpora import small_corpus


def test_what_passes_hand_on_is_the_same_or_an_error(tmp_path):
    store = small_corpus(tmp_path / "c", shards=0).store
    for _ in range(2):
        put(store, "x.arrow", pa.table({"row": [1]}))
    assert get(store, "x.arrow").to_pydict() == {"row": [1]}
    assert get(store, "y.arrow") is None
    with pytest.raises(CorpusError, match=r"x\.arrow is there with other content"):
        put(store, "x.arrow", pa.table({"row": [2]}))
