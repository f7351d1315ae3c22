"""`nucleus export`: what was kept, or the records of other states, as one Parquet or CSV file."""

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from nucleus_data.corpus.looking import find_damaged
from nucleus_data.corpus.runs import maker
from nucleus_data.corpus.states import FAILED, KEPT, STATES
from nucleus_data.errors import RequestError
from nucleus_data.printed import visible
from nucleus_data.runner.run import Run
from nucleus_data.stages.select.stage import TABLE as SELECTION
from nucleus_data.stages.select.stage import Select, published_selection

HIDDEN = {"file", "offset", "size", "error", "detail", "retryable"}
WHY = ("state", "reasons", "duplicate_of")  # of states other than kept


def export(run: Run, select: Select, target: str, states: Sequence[str] = (KEPT,)) -> int:
    """Writes the records of some states as Parquet or CSV.

    They come with id, source, key, and upstream columns such as the URL; if not only kept ones are
    asked for, also with their state and why they are in it.

    Args:
        run: The run.
        select: The stage whose selection it is.
        target: A path that ends in .parquet or .csv.
        states: Which records; see `corpus.states`.

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
    state = duckdb.ColumnExpression("state")
    kept = corpus.rows(selection).filter(state.isin(*map(duckdb.ConstantExpression, states)))
    why = () if set(states) == {KEPT} else WHY
    named = ", ".join(("shard", "row", *(f'{name} AS "{_new(records, name)}"' for name in why)))
    joined = records.join(kept.project(named).set_alias("k"), "shard, row")
    columns = ", ".join(
        f'"{c}"'
        for c in [*records.columns, *(_new(records, name) for name in why)]
        if c not in (HIDDEN - {"detail"} if FAILED in states else HIDDEN)
    )
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


def made_lines(run: Run) -> Iterator[str]:
    """Which selection a run has pinned: its sums, and how it was made."""
    hashed = run.tables[SELECTION]
    made = published_selection(run.corpus.store, hashed)
    assert made is not None, "export() found it"
    sums = " + ".join(f"{made['states'].get(state, 0):,} {state}" for state in STATES)
    yield f"selection {hashed}: {made['records']:,} records = {sums}"
    found = maker(run.corpus.store, SELECTION, hashed)
    if found is None:
        yield "  no run tells how it was made"
        return
    name, plan = found
    yield f"  made by the run {name}: {plan.get('told') or plan.get('command')}"
    settings = plan.get("config", {}).get("select", {})
    walked = settings.get("drop_duplicates", True)
    copies = "of duplicates the best stays" if walked else "duplicates were not looked for"
    yield f"  {len(settings.get('rules', {}))} rules; {copies}"


def _new(records: duckdb.DuckDBPyRelation, name: str) -> str:
    """A column's name that no upstream column has."""
    return name if name not in records.columns else f"selection.{name}"
