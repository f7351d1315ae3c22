"""Records of one shard and their tables, made up, and what the rules decide about them."""

import pyarrow as pa

from nucleus_data.stages.select import judge as judging
from nucleus_data.stages.select.decide import DECISION_SCHEMA, decide
from nucleus_data.stages.select.judge import Shard
from nucleus_data.stages.select.rules import check_rules
from nucleus_data.stages.select.settings import SelectSettings, TierSettings
from nucleus_data.stages.select.tiers import check_tiers

CATALOG = {
    "width": "inspect.file",
    "format": "inspect.file",
    "luma": "inspect.tone",
    "state": "inspect.own",
    "values": "inspect.own",
}
RECORD = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("id", pa.string()),
        ("error", pa.string()),
        ("retryable", pa.bool_()),
        ("source.caption", pa.string()),
    ]
)
FILE = pa.schema(
    [("row", pa.int32()), ("width", pa.int32()), ("format", pa.string()), ("error", pa.string())]
)
TONE = pa.schema([("row", pa.int32()), ("luma", pa.float32()), ("error", pa.string())])
FAILED = pa.schema([("row", pa.int32()), ("reason", pa.string())])


def records(count, **columns):
    """Records 0 and up of shard 0, with upstream columns: name -> a value for each."""
    rows = [
        {
            "shard": 0,
            "row": row,
            "id": f"{row:032x}",
            "error": None,
            "retryable": False,
            **{name: values[row] for name, values in columns.items()},
        }
        for row in range(count)
    ]
    return pa.Table.from_pylist(rows, RECORD)


def table(schema, *rows):
    """Rows of a schema, each as a tuple of its first columns' values."""
    return pa.Table.from_pylist(
        [dict(zip(schema.names, row, strict=False)) for row in rows], schema
    )


def judge(record_table, tables, rules, failed=None, tiers=None):
    """What is decided about the records, a dictionary each; checks that keys and columns stay."""
    checked = check_rules(SelectSettings(rules=rules), CATALOG, ["caption", "score"])
    needed = {t for rule in checked for t in rule.tables if t != "records"}
    required = sorted({"inspect.file", *needed})
    score = check_tiers(TierSettings(**tiers or {}), CATALOG, ["caption", "score"])
    known = [Shard(record_table, tables, failed or {})]
    decided = decide(judging.judge(known, checked, required, score), checked, required)
    assert decided.schema.names == ["shard", "row", "id", *DECISION_SCHEMA.names]
    assert decided.schema.field("reasons").type == DECISION_SCHEMA.field("reasons").type
    assert decided.column("row").to_pylist() == record_table.column("row").to_pylist()
    assert decided.column("id").to_pylist() == record_table.column("id").to_pylist()
    return decided.to_pylist()


def one(rules, file=(0, 100, "jpeg"), **columns):
    """What is decided about one record, given its row of `inspect.file` (None: not measured)."""
    tables = {"inspect.file": table(FILE, file) if file else None}
    return judge(records(1, **{k: [v] for k, v in columns.items()}), tables, rules)[0]
