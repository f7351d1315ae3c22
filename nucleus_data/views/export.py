"""`nucleus export`: what was kept, as one Parquet or CSV file."""

import duckdb

from nucleus_data.corpus.states import KEPT
from nucleus_data.errors import RequestError
from nucleus_data.runner.run import Run
from nucleus_data.stages.select.stage import TABLE as SELECTION
from nucleus_data.stages.select.stage import Select


def export(run: Run, select: Select, target: str) -> int:
    """Writes the kept records as Parquet or CSV.

    They come with id, source, key, and upstream columns such as the URL.

    Args:
        run: The run.
        select: The stage whose selection it is.
        target: A path that ends in .parquet or .csv.

    Returns:
        How many.

    Raises:
        RequestError: There is no selection of the tables and rules as they are now, the ending is
            neither .parquet nor .csv, or nothing can be written there.
    """
    run.pin(select.found(run))
    if not target.endswith((".parquet", ".csv")):
        raise RequestError(
            f"cannot export to {target!r}; allowed: a path that ends in .parquet or .csv"
        )
    corpus = run.corpus
    records = corpus.table("records").set_alias("r")
    kept = corpus.table(SELECTION, run.tables[SELECTION]).filter(f"state = '{KEPT}'")
    joined = records.join(kept.project("shard, row").set_alias("k"), "shard, row")
    hidden = {"file", "offset", "size", "error", "detail", "retryable"}
    columns = ", ".join(f'"{c}"' for c in records.columns if c not in hidden)
    rows = joined.project(columns).order("shard, row")
    try:
        if target.endswith(".parquet"):
            rows.write_parquet(target, compression="zstd")
        else:
            rows.write_csv(target)
    except duckdb.IOException as error:
        raise RequestError(f"cannot export to {target!r}: {error}") from None
    return int(kept.count("*").fetchall()[0][0])
