"""Lists of rows that are asked about again."""

import pyarrow as pa

from nucleus_data.corpus.renewed import (
    SCHEMA,
    attempts_of,
    digest_of,
    hash_of,
    list_name,
    next_list,
    publish,
)
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import Table

TABLE = "caption.short"


def rows(*numbers, attempts=3, shard=0):
    content = [
        {"shard": shard, "row": n, "id": f"{n:032x}", "attempts": attempts, "reason": "repetition"}
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
    def named(*found, table=TABLE, before="before"):
        return hash_of(table, before, sum(digest_of(each) for each in found))

    one = named(rows(1, 2), rows(1, shard=1))
    assert one == named(rows(1, shard=1), rows(1, 2)), "whichever is found first"
    mixed = pa.concat_tables([rows(1), rows(2, attempts=6)])
    others = [
        named(rows(1, 2), rows(1, shard=1), table="caption.long"),
        named(rows(1, 2), rows(1, shard=1), before="after"),
        named(rows(1, 2)),
        named(rows(1, 3), rows(1, shard=1)),
        named(rows(1, 2), rows(1, shard=2)),
        named(rows(1, 2, attempts=6), rows(1, shard=1)),
        named(mixed, rows(1, shard=1)),
        named(pa.concat_tables([rows(1, attempts=6), rows(2)]), rows(1, shard=1)),
    ]
    assert len({one, *others}) == 9


def test_attempts_are_read_where_a_list_is_pinned(tmp_path):
    store = Store(str(tmp_path))
    Table(store, list_name(TABLE), "one").append(0, rows(4, 7), {})
    assert attempts_of(store, TABLE, {list_name(TABLE): "one"}, 0) == {4: 3, 7: 3}
    assert attempts_of(store, TABLE, {list_name(TABLE): "one"}, 1) == {}
    assert attempts_of(store, TABLE, {}, 0) == {}
