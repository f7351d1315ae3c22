"""Lists of rows that are asked about again."""

import pyarrow as pa

from nucleus_data.corpus.again import (
    SCHEMA,
    attempts_of,
    hash_of,
    list_name,
    next_list,
    publish,
    write_list,
)
from nucleus_data.corpus.store import Store

TABLE = "caption.short"


def rows(*numbers, attempts=3):
    content = [
        {"shard": 0, "row": n, "id": f"{n:032x}", "attempts": attempts, "reason": "repetition"}
        for n in numbers
    ]
    return pa.Table.from_pylist(content, SCHEMA)


def test_the_first_list_counts_and_may_be_published_again(tmp_path):
    store = Store(str(tmp_path))
    assert next_list(store, TABLE, "before") is None
    assert publish(store, TABLE, "before", "one")
    assert publish(store, TABLE, "before", "one"), "after a kill"
    assert not publish(store, TABLE, "before", "other")
    assert next_list(store, TABLE, "before") == "one"
    assert next_list(store, TABLE, "one") is None


def test_a_list_is_named_by_its_table_rows_and_attempts():
    one = hash_of(TABLE, "before", {0: rows(1, 2)})
    assert one == hash_of(TABLE, "before", {0: rows(1, 2)})
    others = [
        hash_of("caption.long", "before", {0: rows(1, 2)}),
        hash_of(TABLE, "after", {0: rows(1, 2)}),
        hash_of(TABLE, "before", {0: rows(1, 3)}),
        hash_of(TABLE, "before", {1: rows(1, 2)}),
        hash_of(TABLE, "before", {0: rows(1, 2, attempts=6)}),
    ]
    assert len({one, *others}) == 6


def test_attempts_are_read_where_a_list_is_pinned(tmp_path):
    store = Store(str(tmp_path))
    for _ in range(2):  # it may be written again
        write_list(store, TABLE, "one", {0: rows(4, 7)})
    assert attempts_of(store, TABLE, {list_name(TABLE): "one"}, 0) == {4: 3, 7: 3}
    assert attempts_of(store, TABLE, {list_name(TABLE): "one"}, 1) == {}
    assert attempts_of(store, TABLE, {}, 0) == {}
