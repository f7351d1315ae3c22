"""Selections of small corpora, and what changes between two of them."""

import pyarrow as pa

from nucleus_data.corpus.tables import table_schema
from nucleus_data.hashing import record_id
from nucleus_data.stages.select.decide import DECISION_SCHEMA
from tests.support import curated

RULES = "select.rules={small: 'least(width, height) < 32', bad: \"source.caption = 'bad'\"}"


def select(corpus, *overrides, **options):
    """Runs dedup and select; returns the run and key -> row of the selection."""
    made = curated.run(corpus.uri, "select", RULES, *overrides, **options)
    made.do("dedup")
    made.select()
    keys = {r["id"]: r["key"] for r in corpus.table("records").to_arrow_table().to_pylist()}
    rows = curated.table(corpus, "selection", made.tables["selection"])
    return made, {keys[row["id"]]: row for row in rows}


def states_of(corpus) -> dict[str, int]:
    """State -> number of records."""
    return dict(corpus.table("selection").aggregate("state, count(*)").fetchall())


SELECTION = table_schema(DECISION_SCHEMA, error=False)


def reasons(content, direction):
    """(State, reason) -> records that leave or enter by it."""
    return {(r["state"], r["reason"]): r["records"] for r in content[direction]["reasons"]}


def rules(content):
    """Rule -> records that it newly rejects, and that it no longer rejects."""
    return {r["rule"]: (r["newly"], r["no_longer"]) for r in content["rules"]}


def decided(shard, *rows, start=0):
    """Decisions: a state, or (state, reasons) or (state, reasons, further columns)."""
    content = []
    for number, row in enumerate(rows, start):
        state, why, more = (*((row, [], {}) if isinstance(row, str) else row), {})[:3]
        lists = {name: [] for name in ("conditions", "flags", "nulls", "pending_on")}
        key = {"shard": shard, "row": number, "id": record_id("test", f"{shard}/{number}")}
        line = {**lists, **key, "state": state, "reasons": why, "retryable": False, **more}
        content.append(line)
    return pa.Table.from_pylist(content, SELECTION)
