"""`nucleus export`: what was kept, as one Parquet or CSV file."""

import uuid
from pathlib import Path

import duckdb

from nucleus_data.corpus.looking import find_damaged
from nucleus_data.corpus.states import KEPT
from nucleus_data.errors import RequestError
from nucleus_data.printed import visible
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
        DamagedError: A part cannot be read: nothing is written.
        RequestError: There is no selection of the tables and rules as they are now, the ending is
            neither .parquet nor .csv, or nothing can be written there.
    """
    run.pin(select.found(run))
    if not target.endswith((".parquet", ".csv")):
        raise RequestError(
            f"cannot export to {target!r}; allowed: a path that ends in .parquet or .csv"
        )
    # Strict, unlike `Corpus.table`: an export that lacks a part would pass for a whole one.
    corpus, selection = run.corpus, run.corpus.at(SELECTION, run.tables[SELECTION])
    records = corpus.rows(corpus.records).set_alias("r")
    kept = corpus.rows(selection).filter(f"state = '{KEPT}'")
    joined = records.join(kept.project("shard, row").set_alias("k"), "shard, row")
    hidden = {"file", "offset", "size", "error", "detail", "retryable"}
    columns = ", ".join(f'"{c}"' for c in records.columns if c not in hidden)
    rows = joined.project(columns).order("shard, row")
    # Beside the target until it is whole: an export that fails leaves what was there.
    part = Path(target).with_name(f".{uuid.uuid4().hex}.{Path(target).name}")
    try:
        if target.endswith(".parquet"):
            rows.write_parquet(str(part), compression="zstd")
        else:
            rows.write_csv(str(part))
        part.replace(target)
    except (duckdb.IOException, OSError) as error:
        if found := find_damaged(corpus):
            raise found[0] from error
        said = visible(str(error).replace(str(part), target))
        raise RequestError(f"cannot export to {target!r}: {said}") from None
    finally:
        part.unlink(missing_ok=True)
    return int(kept.count("*").fetchall()[0][0])
