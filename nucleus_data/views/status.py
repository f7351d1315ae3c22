"""`nucleus status`: what a corpus holds."""

from collections.abc import Iterator
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.damaged import WHOLE
from nucleus_data.corpus.looking import going_without, without_lines
from nucleus_data.corpus.published import published
from nucleus_data.corpus.tables import Table
from nucleus_data.runner.run import Run
from nucleus_data.sets.layout import all_sets
from nucleus_data.stages.ingest.claims import FOLDER as CLAIMS
from nucleus_data.stages.select.plan import TABLE as SELECTION
from nucleus_data.stages.select.stage import published_selection


def status(run: Run) -> dict[str, Any]:
    """What a corpus holds: records, rows of each table, selections, sets, runs.

    Damaged files are left out of it, and listed.
    """
    return going_without(run.corpus, lambda corpus: _content(run, corpus))


def _content(run: Run, corpus: Corpus) -> dict[str, Any]:
    shards = corpus.shards()
    tables: dict[str, dict[str, Any]] = {}
    others: list[dict[str, Any]] = []
    selections, tiers = {}, {}
    for name in corpus.store.list("tables"):
        for hashed in corpus.config_hashes(name):
            if name == SELECTION and (made := published_selection(corpus.store, hashed)):
                selections[hashed] = made.get("states", {})
                counts = sorted(made.get("counts", {}).items())
                tiers[hashed] = {n[5:]: count for n, count in counts if n.startswith("tier:")}
            elif name != "records":
                about = _about(corpus, Table(corpus.store, name, hashed))
                if run.tables.get(name) == hashed:
                    tables[name] = about
                else:
                    others.append({"table": name, **about, "note": _note(corpus, name, hashed)})
    sets = list(all_sets(corpus.store))
    return {
        "corpus": corpus.uri,
        "several_writers": corpus.several_writers,
        "shards": len(shards),
        "claimed_shards": len(corpus.store.list(CLAIMS)),
        "records": sum(len(corpus.records.covered(shard)) for shard in shards),
        "tables": tables,
        "other_tables": others,
        "selections": selections,
        "tiers": tiers,
        "training_sets": [found.path for found in sets if found.published],
        "unfinished_sets": [found.path for found in sets if not found.published],
        "runs": corpus.runs(),
        "left_out": [error.content() for error in corpus.left_out],
    }


def _about(corpus: Corpus, table: Table) -> dict[str, Any]:
    """A table's rows, and those that failed in a way that may pass."""
    failed = sum(len(corpus.failed_rows(table, shard)) for shard in table.failed.shards())
    rows = sum(table.count(shard) for shard in table.shards())
    return {"config_hash": table.config_hash, "rows": rows, "failed_retryable": failed}


def _note(corpus: Corpus, name: str, hashed: str) -> str:
    """Why a table is none of those that the configuration names."""
    if name not in WHOLE:
        return "of another configuration"
    return "" if published(corpus.store, f"tables/{name}/{hashed}") else "not finished"


def status_lines(content: dict[str, Any]) -> Iterator[str]:
    """The status for people."""
    yield (
        f"{content['corpus']}: {content['records']:,} records in {content['shards']:,} image shards"
    )
    unfinished = content["claimed_shards"] - content["shards"]
    if unfinished > 0:
        yield f"  {unfinished} claimed shards are not ingested yet; run ingest again"
    if not content["several_writers"]:
        yield "  this store cannot refuse to overwrite: one writer at a time"
    for name, table in content["tables"].items():
        yield _table_line(name, table)
    for hashed, states in content["selections"].items():
        counts = ", ".join(f"{count:,} {state}" for state, count in states.items() if count)
        yield f"  selection          {hashed}  {counts}"
        if tiers := content["tiers"][hashed]:
            counts = ", ".join(f"{count:,} {tier}" for tier, count in tiers.items())
            yield f"    kept by quality tier: {counts}"
    for table in content["other_tables"]:
        note = f" ({table['note']})" if table["note"] else ""
        yield f"{_table_line(table['table'], table)}{note}"
    for folder in content["training_sets"]:
        yield f"  training set       {folder}"
    for folder in content["unfinished_sets"]:
        yield f"  training set       {folder} (not finished)"
    if content["runs"]:
        yield f"  last run           {content['runs'][-1]}"
    yield from without_lines(content["left_out"])


def _table_line(name: str, table: dict[str, Any]) -> str:
    failed = table["failed_retryable"]
    retry = f", {failed:,} failed (nucleus retry)" if failed else ""
    return f"  {name:<18} {table['config_hash']}  {table['rows']:>10,} rows{retry}"
