"""Takes records out of one image shard: out of records, tables and claim, and then out of the tar.

Records come first, since from then on no stage reads the pictures, whose bytes are removed last.
Each file is replaced as a whole, by an idempotent function of its content, so that a task that was
killed can be repeated.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.damaged import read_whole, reading
from nucleus_data.corpus.parts import Part, encode_part, own_footer
from nucleus_data.corpus.store import Store, with_retries
from nucleus_data.corpus.tables import Table
from nucleus_data.corpus.tar_names import tar_name
from nucleus_data.hashing import encode_rows
from nucleus_data.runner.work import Summary
from nucleus_data.stages.upkeep.plan import TakedownPlan
from nucleus_data.stages.upkeep.tasks import TakedownTask
from nucleus_data.stages.upkeep.tombstones import (
    blank_copy,
    claim_tombstones,
    decision_tombstones,
    record_tombstones,
    without_rows,
)

RECORDS, SELECTION = "records", "selection"
# Tables with only ids and distances. Without the rows of a record that is taken down, its copies
# would no longer be known to be copies of each other.
UNTOUCHED = ("dedup",)
Change = Callable[[pa.Table, np.ndarray], pa.Table]


class ShardTask(TakedownTask):
    """Takes records out of one image shard (a task of the runner)."""

    def run(self, number: int) -> Summary:
        """Rewrites the files with the shard's records; `number` is the shard."""
        corpus, plan = self.opened()
        return take_from_shard(corpus, plan, number)


def take_from_shard(corpus: Corpus, plan: TakedownPlan, shard: int) -> Summary:
    """Rewrites the files of one image shard that have content of records to take down.

    Returns:
        A summary with the number of records as `done`, and the numbers of rewritten `tars` and
        `parts` in `extra`.
    """
    store, records = corpus.store, plan.of_shard(shard)
    rows = np.sort(records["row"].to_numpy())
    summary = Summary(rows=len(rows), done=len(rows))
    with tempfile.TemporaryDirectory(prefix="nucleus-takedown-") as folder:
        tar = Path(folder) / "shard.tar"
        digest = _blanked(store, records, shard, tar)
        for table, change in changes(corpus):
            for part in table.parts(shard):
                summary.extra["parts"] += _rewrite(part, rows, change, digest)
        _rewrite_claim(store, shard, rows)
        if tar.exists():
            store.put_file(tar_name(shard), tar)
            summary.extra["tars"] += 1
            summary.bytes += tar.stat().st_size
    return summary


def changes(corpus: Corpus) -> Iterator[tuple[Table, Change]]:
    """Yields every table about records, with the function that takes rows down; `records` first."""
    store = corpus.store
    for name in sorted(store.list("tables"), key=lambda name: (name != RECORDS, name)):
        if name in UNTOUCHED:
            continue
        change = {RECORDS: record_tombstones, SELECTION: decision_tombstones}.get(
            name, without_rows
        )
        for hashed in store.list(f"tables/{name}"):
            # A plain `Table`, to include superseded records, which also have a URL.
            table = Table(store, name, hashed)
            yield table, change
            if name != SELECTION:
                yield table.failed, without_rows


def _blanked(store: Store, records: pa.Table, shard: int, tar: Path) -> str | None:
    """Copies the shard's tar without the pictures; returns its SHA-256, None without a tar."""
    name = tar_name(shard)
    places = {
        row["id"]: (row["offset"], row["size"])
        for row in records.to_pylist()
        if row["offset"] is not None
    }
    try:
        file = with_retries(lambda: store.fs.open(store.path(name), "rb"))
    except FileNotFoundError:
        return None
    with file:
        return blank_copy(file, tar, places, records["row"].to_pylist())


def _rewrite(part: Part, rows: np.ndarray, change: Change, digest: str | None) -> int:
    """Replaces a part if its rows or the tar's SHA-256 change; returns the number replaced."""
    table = part.read()
    changed = change(table.replace_schema_metadata(None), rows)
    footer = dict(part.footer)
    footer["rows"] = encode_rows(changed.column("row").to_numpy())
    # The tar's size is unchanged, but its SHA-256 is not; `done.json` has the old and the new one.
    if digest is not None and "tar_sha256" in footer:
        footer["tar_sha256"] = digest
    if footer == part.footer and changed.equals(table.replace_schema_metadata(None)):
        return 0
    part.store.put(part.name, encode_part(changed, footer))
    return 1


def _rewrite_claim(store: Store, shard: int, rows: np.ndarray) -> None:
    """Removes the sources of the pictures from a claim, if the corpus has one."""
    name = f"claims/{shard:06d}.parquet"
    try:
        data = read_whole(store, name)
    except FileNotFoundError:
        return
    with reading(store, name):
        table = pq.read_table(pa.BufferReader(data))
    changed = claim_tombstones(table, rows)
    new = encode_part(changed, own_footer(table.schema))
    if new != data:
        store.put(name, new)
