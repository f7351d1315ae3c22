import io
from itertools import islice

import fsspec
import numpy as np
import pytest
from PIL import Image

from nucleus_data.errors import CorpusError, RequestError
from nucleus_model.data.loader import TrainingSet
from tests.support.sets import ident, make_set


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("loader") / "set", {"64/1x1": 9, "64/4x3": 5})


def test_it_starts_from_the_indexes(made):
    found = TrainingSet(made.url())
    assert (found.count, found.resolution, found.exact) == (14, 64, True)
    assert [(b.aspect, b.size, b.samples, len(b.tars)) for b in found.buckets] == [
        ("1x1", (64, 64), 9, 3),
        ("4x3", found.buckets[1].size, 5, 2),
    ]
    assert [sample.id for sample in found.samples] == sorted(ident(n) for n in range(14))
    assert found.tables.whole().itemsize == 48
