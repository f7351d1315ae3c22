"""A takedown's work on one image shard: records, claim and tables, then the tar.

Records come first: from then on no stage reads the picture, whose bytes go last. Each file is
replaced as a whole, and by a function of what it was, so a task that was killed is done again.
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
# Tables of ids and distances alone. Without these rows copies of a taken record would no longer be
# known as copies of each other.
UNTOUCHED = ("dedup",)
Change = Callable[[pa.Table, np.ndarray], pa.Table]


class ShardTask(TakedownTask):
    """Takes records out of one image shard (a task of the runner)."""

    def run(self, number: int) -> Summary:
        """Rewrites what the shard's records are in; `number` is the shard."""
        corpus, plan = self.opened()
        return take_from_shard(corpus, plan, number)


def take_from_shard(corpus: Corpus, plan: TakedownPlan, shard: int) -> Summary:
    """Rewrites the files of one image shard that have content of records that are taken down.

    Returns:
        As `done` the records, as `extra` how many `tars` and `parts` were rewritten.
    """
    store, mine = corpus.store, plan.of_shard(shard)
    rows = np.sort(mine["row"].to_numpy())
    summary = Summary(rows=len(rows), done=len(rows))
    with tempfile.TemporaryDirectory(prefix="nucleus-takedown-") as folder:
        tar = Path(folder) / "shard.tar"
        digest = _blanked(store, mine, shard, tar)
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
    """Every table of a corpus that is about records, and how its rows are taken down.

    Records come first.
    """
    store = corpus.store
    for name in sorted(store.list("tables"), key=lambda name: (name != RECORDS, name)):
        if name in UNTOUCHED:
            continue
        change = {RECORDS: record_tombstones, SELECTION: decision_tombstones}.get(
            name, without_rows
        )
        for hashed in store.list(f"tables/{name}"):
            # As it is stored: a superseded record has a URL, too.
            table = Table(store, name, hashed)
            yield table, change
            if name != SELECTION:
                yield table.failed, without_rows


def _blanked(store: Store, mine: pa.Table, shard: int, tar: Path) -> str | None:
    """Copies the shard's tar without the pictures; its SHA-256, None where there is no tar."""
    name = tar_name(shard)
    places = {
        row["id"]: (row["offset"], row["size"])
        for row in mine.to_pylist()
        if row["offset"] is not None
    }
    try:
        file = with_retries(lambda: store.fs.open(store.path(name), "rb"))
    except FileNotFoundError:
        return None
    with file:
        return blank_copy(file, tar, places, mine["row"].to_pylist())


def _rewrite(part: Part, rows: np.ndarray, change: Change, digest: str | None) -> int:
    """Replaces a part, if it has one of the rows or names the tar; returns how many."""
    table = part.read()
    changed = change(table.replace_schema_metadata(None), rows)
    footer = dict(part.footer)
    footer["rows"] = encode_rows(changed.column("row").to_numpy())
    # The tar has the same size and another SHA-256 now; the takedown's record has both.
    if digest is not None and "tar_sha256" in footer:
        footer["tar_sha256"] = digest
    if footer == part.footer and changed.equals(table.replace_schema_metadata(None)):
        return 0
    part.store.put(part.name, encode_part(changed, footer))
    return 1


def _rewrite_claim(store: Store, shard: int, rows: np.ndarray) -> None:
    """Takes out of a claim where the pictures came from; a corpus may have none."""
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
