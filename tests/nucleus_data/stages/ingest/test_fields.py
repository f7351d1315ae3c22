import json
import time
import tracemalloc

import pytest

from nucleus_data.stages.ingest.fields import (
    LEFT_OUT,
    MOST_COLUMNS,
    chosen_columns,
    field_columns,
    plain_array,
)
from nucleus_data.stages.ingest.sidecars import (
    CAPTION,
    CAPTION_ERROR,
    CAPTIONS,
    MANY,
    MOST_CAPTIONS,
    NOT_TEXT,
    json_columns,
)


def test_a_picture_has_so_many_columns_and_counts_the_others():
    columns = field_columns({f"k{i}": i for i in range(20_000)}, ())
    assert columns.pop(LEFT_OUT) == 20_000 - MOST_COLUMNS
    assert columns == {f"source.k{i}": i for i in range(MOST_COLUMNS)}
    odd = field_columns({"k" * 201: 1, "a\0b": 2, "a\x1bb": 3, "": 4, "none": None}, ())
    assert odd == {"source.": 4, LEFT_OUT: 3}
    assert field_columns({"id": 1}, {"id"}) == {"source.id_upstream": 1}


def test_a_shard_keeps_what_most_pictures_have():
    rows = [{"source.common": 1} for _ in range(3)]
    rows += [{f"source.{row}.{i}": i for i in range(MOST_COLUMNS)} for row in range(3)]
    rows += [{"source.rare": 1, "source.Common": 2}, {"source.url": 1, "source.URL": 2}]
    kept = chosen_columns(rows, {"source.url"})
    assert {"source.common", "source.rare", "source.url"} < kept
    assert not {"source.Common", "source.URL"} & kept
    assert len(kept) == MOST_COLUMNS + 1
    assert kept == chosen_columns(rows[::-1], {"source.url"})


def test_captions_of_json():
    def captions(**fields):
        return json_columns(json.dumps(fields).encode())

    assert captions(caption=["a", "b"], captions=["c", "a"]) == {
        CAPTION: "a",
        CAPTIONS: ["a", "b", "c"],
    }
    assert captions(caption="a", captions="b") == {CAPTION: "a", f"{CAPTIONS}_upstream": "b"}
    assert captions(captions=["b"]) == {CAPTION: "b", CAPTIONS: ["b"]}
    assert captions(caption={"en": "b"}) == {CAPTION_ERROR: NOT_TEXT}
    many = captions(caption=[str(i) for i in range(MOST_CAPTIONS + 1)])
    assert (len(many[CAPTIONS]), many[CAPTION_ERROR]) == (MOST_CAPTIONS, MANY)
    lists = plain_array([None, ["a"], ["a", "b"]])
    assert str(lists.type).startswith("list<")
    assert lists.to_pylist() == [None, ["a"], ["a", "b"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    "made",
    [
        lambda: "[" * (1 << 20),
        lambda: '{"a":' * 200_000,
        lambda: json.dumps({f"{i}": [[]] * 9 for i in range(20_000)}),
        lambda: json.dumps({"a": [{}] * 250_000}),
    ],
    ids=["lists", "objects", "keys", "wide"],
)
def test_the_largest_json_takes_bounded_time_and_memory(made):
    text = made()
    started = time.process_time()
    json_columns(text.encode())
    assert time.process_time() - started < 2
    tracemalloc.start()
    json_columns(text[: 1 << 17].encode())
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert memory < 10 << 20  # of 128 KB; a file has 4 MB at most
