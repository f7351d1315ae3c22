"""Rows of an earlier table that are copied into a newer one."""

import pyarrow as pa

from nucleus_data.corpus.renewed import SCHEMA, draft_of, list_name
from nucleus_data.corpus.tables import FAILED_SCHEMA, Table, table_schema
from nucleus_data.runner.carry import CarryTask, Move
from nucleus_data.world.corpora import small_corpus

VALUES = table_schema(pa.schema([("value", pa.int32())]))


def key(row):
    return {"shard": 0, "row": row, "id": f"{row:032x}"}


def test_all_rows_but_those_that_are_asked_about_again_are_copied_once(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=0)
    before, after = (Table(corpus.store, "t", name) for name in ("before", "after"))
    footer = {"tar_size": "7", "tar_sha256": "ab"}
    first = [{**key(row), "value": row} for row in (0, 1)] + [{**key(2), "error": "broken"}]
    before.append(0, pa.Table.from_pylist(first, VALUES), footer)
    before.append(0, pa.Table.from_pylist([{**key(5), "value": 5}], VALUES), footer)
    # Row 3 failed and is asked again, 4 failed and waits; 5 failed, and has a value since.
    lost = [{**key(row), "reason": "repetition", "detail": ""} for row in (3, 4, 5)]
    before.failed.append(0, pa.Table.from_pylist(lost, FAILED_SCHEMA), footer)
    again = [{**key(row), "attempts": 3, "reason": "x"} for row in (1, 3)]
    draft_of(corpus.store, "t", "runs/r").append(0, pa.Table.from_pylist(again, SCHEMA), {})

    task = CarryTask(corpus.uri, {}, [Move("t", "before", "after")], "t", "list", "runs/r")
    assert [task.run(0).done, task.run(0).done, task.run(1).done] == [3, 0, 0]
    copied = after.read(0).to_pylist()
    assert [(row["row"], row["value"], row["error"]) for row in copied] == [
        (0, 0, None),
        (2, None, "broken"),
        (5, 5, None),
    ]
    assert after.failed.read(0).column("row").to_pylist() == [4]
    (part,) = after.metadata(0)
    assert (part["tar_size"], part["tar_sha256"]) == ("7", "ab")
    listed = Table(corpus.store, list_name("t"), "list")
    assert (listed.shards(), listed.read(0).column("row").to_pylist()) == ([0], [1, 3])
