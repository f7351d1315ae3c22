"""`nucleus export`: writes the kept records, or those of other states, to a Parquet or CSV file."""

import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from itertools import islice
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.addresses import reason
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.exported import note_export
from nucleus_data.corpus.looking import find_damaged
from nucleus_data.corpus.record_counts import parts_of_each_schema
from nucleus_data.corpus.runs import maker
from nucleus_data.corpus.states import FAILED, KEPT, STATES
from nucleus_data.corpus.tables import Table, parts_list
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.printed import visible
from nucleus_data.runner.run import Run
from nucleus_data.stages.select.stage import TABLE as SELECTION
from nucleus_data.stages.select.stage import Select, published_selection

HIDDEN = {"file", "offset", "size", "error", "detail", "retryable"}
# Number of shards whose records and decisions are joined at once; up to three times as many are in
# memory.
SHARDS = 16
# Further columns, if records of other states than kept are exported.
WHY = ("state", "reasons", "duplicate_of")


def export(run: Run, select: Select, target: str, states: Sequence[str] = (KEPT,)) -> int:
    """Writes the records in some states to a Parquet or CSV file.

    The columns are id, source, key, and upstream columns such as the URL; if other states than
    kept are included, also the state and its reasons.

    Args:
        run: The run.
        select: The select stage.
        target: Local path of the file, ending in .parquet or .csv.
        states: States of the records to write (`corpus.states`).

    Returns:
        The number of records.

    Raises:
        DamagedError: A part can't be read; nothing is written.
        RequestError: There is no selection for the current tables and rules, or the file can't be
            written.
    """
    with run.corpus.store.listing_once():
        run.pin(select.found(run))
        if not target.endswith((".parquet", ".csv")):
            raise RequestError(f"can't export to {target!r}: the path must end in .parquet or .csv")
        if "://" in target:
            raise RequestError(
                f"can't export to {target!r}: records can only be written to a local path; give "
                "one, then copy the file to the store"
            )
        corpus, selection = run.corpus, run.corpus.at(SELECTION, run.tables[SELECTION])
        none, shards = _no_records(corpus), selection.shards()
        # Written beside the target and then renamed, so that a failure keeps an existing file.
        part = Path(target).with_name(f".{uuid.uuid4().hex}.{Path(target).name}")
        count = 0
        try:
            with _Writer(part, target) as writer:
                read = at_once(corpus.store, partial(_read, corpus, selection), shards, SHARDS)
                while batch := list(islice(read, SHARDS)):
                    rows = _rows(corpus, none, states, batch)
                    writer.write(rows)
                    count += rows.num_rows
            if warning := _noted(run, target, states):
                run.say(warning)
            part.replace(target)
        except (duckdb.IOException, OSError) as error:
            if found := find_damaged(corpus):
                raise found[0] from error
            why = visible(reason(error).replace(str(part), target))
            raise RequestError(f"can't export to {target!r}: {why}") from None
        finally:
            with suppress(OSError):  # it was renamed, or never written
                part.unlink()
    return count


def _noted(run: Run, target: str, states: Sequence[str]) -> str | None:
    """Notes the export in the corpus; returns a warning for people if that fails."""
    about = {"as": "records", "states": list(states)}
    return note_export(run.corpus.store, str(Path(target).absolute()), about)


def _no_records(corpus: Corpus) -> pa.Table:
    """Returns an empty table with the columns of all records, from one part of each schema."""
    urls = parts_list(corpus.store.url(name) for name in parts_of_each_schema(corpus))
    found: pa.Table = (
        corpus.connection()
        .sql(f"SELECT * FROM read_parquet({urls}, union_by_name = true) LIMIT 0")
        .to_arrow_table()
    )
    return found


def _read(corpus: Corpus, selection: Table, shard: int) -> tuple[pa.Table, pa.Table]:
    """Reads a shard's records and decisions.

    Unlike `Corpus.table`, it leaves no damaged part out, as nothing in the file would show that.

    Raises:
        CorpusError: The shard has no records or no decisions.
        DamagedError: A part can't be read.
    """
    records, decided = corpus.records.read(shard), selection.read(shard, ["shard", "row", *WHY])
    if records is None or decided is None:
        raise CorpusError(f"shard {shard:06d} has no records")
    return records, decided


def _rows(
    corpus: Corpus, none: pa.Table, states: Sequence[str], read: Sequence[tuple[pa.Table, pa.Table]]
) -> pa.Table:
    """Returns the records of some shards that are in these states, in order.

    Args:
        corpus: The corpus.
        none: An empty table with the columns of the result.
        states: States of the records.
        read: Records and decisions of each shard.
    """
    connection = corpus.connection().cursor()
    alike: dict[str, list[pa.Table]] = {"": [none]}
    for mine, _ in read:
        alike.setdefault(str(mine.schema), []).append(mine)
    sources = []
    for number, tables in enumerate(alike.values()):
        connection.register(f"records_{number}", pa.concat_tables(tables))
        sources.append(f"SELECT * FROM records_{number}")
    # Columns that sources have of different types become of one, as where DuckDB reads all parts.
    records = connection.sql(" UNION ALL BY NAME ".join(sources)).set_alias("r")
    decided = connection.from_arrow(pa.concat_tables([decisions for _, decisions in read]))
    state = duckdb.ColumnExpression("state")
    kept = decided.filter(state.isin(*map(duckdb.ConstantExpression, states)))
    why = () if set(states) == {KEPT} else WHY
    named = ", ".join(("shard", "row", *(f'{name} AS "{_new(records, name)}"' for name in why)))
    joined = records.join(kept.project(named).set_alias("k"), "shard, row")
    columns = [
        duckdb.ColumnExpression(c)  # an upstream column's name may have quotes in it
        for c in [*records.columns, *(_new(records, name) for name in why)]
        if c not in (HIDDEN - {"detail"} if FAILED in states else HIDDEN)
    ]
    found: pa.Table = joined.project(*columns).order("shard, row").to_arrow_table()
    return found


class _Writer:
    """Writes batches of rows to a Parquet or CSV file.

    Args:
        part: The file to write.
        target: Its final name, whose ending determines the format.
    """

    def __init__(self, part: Path, target: str) -> None:
        self._part, self._csv = part, target.endswith(".csv")
        self._stack = ExitStack()
        self._parquet: pq.ParquetWriter | None = None

    def __enter__(self) -> "_Writer":
        self._file = self._stack.enter_context(self._part.open("wb"))
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def write(self, rows: pa.Table) -> None:
        """Writes a batch of rows; in CSV, the first one with the header."""
        if self._csv:
            with tempfile.TemporaryDirectory() as folder:
                text = Path(folder, "rows.csv")
                header = self._file.tell() == 0
                duckdb.from_arrow(rows).write_csv(str(text), header=header)
                self._file.write(text.read_bytes())
            return
        if self._parquet is None:
            writer = pq.ParquetWriter(self._file, rows.schema, compression="zstd")
            self._parquet = self._stack.enter_context(writer)
        self._parquet.write_table(rows)


def made_lines(run: Run) -> Iterator[str]:
    """Yields lines about the selection that a run has pinned: its sums, and how it was made."""
    hashed = run.tables[SELECTION]
    made = published_selection(run.corpus.store, hashed)
    assert made is not None, "export() found it"
    sums = " + ".join(f"{made['states'].get(state, 0):,} {state}" for state in STATES)
    yield f"selection {hashed}: {made['records']:,} records = {sums}"
    found = maker(run.corpus.store, SELECTION, hashed)
    if found is None:
        yield "  no run records how it was made"
        return
    name, plan = found
    yield f"  made by the run {name}: {plan.get('told') or plan.get('command')}"
    settings = plan.get("config", {}).get("select", {})
    walked = settings.get("drop_duplicates", True)
    copies = "the best of duplicates is kept" if walked else "duplicates were not searched for"
    yield f"  {len(settings.get('rules', {}))} rules; {copies}"


def _new(records: duckdb.DuckDBPyRelation, name: str) -> str:
    """Returns a column's name, with a prefix if an upstream column has the same name."""
    return name if name not in records.columns else f"selection.{name}"
