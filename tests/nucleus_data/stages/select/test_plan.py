import pyarrow as pa
import pytest

from nucleus_data.errors import CorpusError
from nucleus_data.stages.select.plan import put


def test_what_passes_hand_on_is_the_same_or_an_error(corpus):
    for _ in range(2):
        put(corpus.store, "x.arrow", pa.table({"row": [1]}))
    with pytest.raises(CorpusError, match=r"x\.arrow is there with other content"):
        put(corpus.store, "x.arrow", pa.table({"row": [2]}))
