from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from nucleus_model.data.captions import draw_caption, has_source

GIVEN = f"{3:032x}", ("a", "b"), ("web", "x:long")


def test_captions_are_drawn_by_weight():
    weights = {"web": 1.0, "long": 3.0}
    drawn = Counter(draw_caption(*GIVEN, 0, str(epoch), 0.2, weights) for epoch in range(2000))
    assert drawn[""] == pytest.approx(400, abs=80)
    assert drawn["b"] / drawn["a"] == pytest.approx(3, rel=0.2)
    assert {draw_caption(*GIVEN, 0, str(epoch), 0.0, {"web": 1.0}) for epoch in range(50)} == {"a"}


def test_captions_are_drawn_evenly_and_dropped_by_share():
    drawn = Counter(draw_caption(*GIVEN, 0, str(number), 0.25) for number in range(2000))
    assert drawn[""] == pytest.approx(500, abs=80)
    assert drawn["a"] == pytest.approx(750, abs=100)
    assert drawn["b"] == pytest.approx(750, abs=100)
    assert draw_caption(*GIVEN, 0, "5", 1.0) == ""
    assert draw_caption(*GIVEN, 3, "5", 0.5) == draw_caption(*GIVEN, 3, "5", 0.5)
    assert draw_caption(GIVEN[0], (), (), 3, "5", 0.0) == ""


def test_which_rows_have_a_caption_of_some_weight():
    lists = [["web"], [], ["x:long", "web"], ["x:short"], None]
    sources = pa.chunked_array([pa.array(lists, pa.list_(pa.string()))])
    assert has_source(sources, None).tolist() == [True, False, True, True, False]
    assert has_source(sources, {"long": 1, "web": 0}).tolist() == [False, False, True, False, False]
    empty = pa.chunked_array([pa.array([], pa.list_(pa.string()))])
    assert has_source(empty, None).tolist() == []
    assert isinstance(has_source(empty, None), np.ndarray)
