"""`nucleus status`: what a corpus holds."""

from collections.abc import Iterator
from typing import Any

from nucleus_data.corpus.tables import Table
from nucleus_data.runner.run import Run
from nucleus_data.sets.layout import published_sets
from nucleus_data.stages.ingest.claims import FOLDER as CLAIMS
from nucleus_data.stages.select.plan import TABLE as SELECTION
from nucleus_data.stages.select.stage import published_selection


def status(run: Run) -> dict[str, Any]:
    """What a corpus holds: records, coverage of each table, selections, sets, runs."""
    corpus = run.corpus
    shards = corpus.shards()
    records = sum(len(corpus.records.covered(shard)) for shard in shards)
    tables = {}
    for name, hashed in sorted(run.tables.items()):
        if name == "records":
            continue
        table = Table(corpus.store, name, hashed)
        rows = sum(len(table.covered(shard)) for shard in table.shards())
        failed = sum(len(corpus.failed_rows(table, shard)) for shard in table.failed.shards())
        tables[name] = {"config_hash": hashed, "rows": rows, "failed_retryable": failed}
    selections, tiers = {}, {}
    for hashed in corpus.config_hashes(SELECTION):
        if made := published_selection(corpus.store, hashed):
            selections[hashed] = made["states"]
            counts = sorted(made["counts"].items())
            tiers[hashed] = {n[5:]: count for n, count in counts if n.startswith("tier:")}
    return {
        "corpus": corpus.uri,
        "several_writers": corpus.several_writers,
        "shards": len(shards),
        "claimed_shards": len(corpus.store.list(CLAIMS)),
        "records": records,
        "tables": tables,
        "selections": selections,
        "tiers": tiers,
        "training_sets": [found.path for found in published_sets(corpus.store)],
        "runs": corpus.runs(),
    }


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
        failed = (
            f", {table['failed_retryable']:,} failed (nucleus retry)"
            if table["failed_retryable"]
            else ""
        )
        yield f"  {name:<18} {table['config_hash']}  {table['rows']:>10,} rows{failed}"
    for hashed, states in content["selections"].items():
        counts = ", ".join(f"{count:,} {state}" for state, count in states.items() if count)
        yield f"  selection          {hashed}  {counts}"
        if tiers := content["tiers"][hashed]:
            counts = ", ".join(f"{count:,} {tier}" for tier, count in tiers.items())
            yield f"    kept by quality tier: {counts}"
    for folder in content["training_sets"]:
        yield f"  training set       {folder}"
    if content["runs"]:
        yield f"  last run           {content['runs'][-1]}"
