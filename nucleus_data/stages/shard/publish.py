"""Publishing a set: its manifest and the list of who is not in it, from what the tasks noted."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus import Corpus
from nucleus_data.errors import CorpusError
from nucleus_data.runner.work import Summary
from nucleus_data.sets.beside import read
from nucleus_data.sets.layout import LEFT_OUT, LEFT_OUT_SCHEMA, SetFolder
from nucleus_data.sets.planned import PLANS
from nucleus_data.stages.shard.dealing import READS_AT_ONCE
from nucleus_data.stages.shard.write import read_note

OUT = f"{PLANS}/out"


@dataclass(frozen=True)
class PublishTask:
    """Publishes a set whose tars are written (a task of the runner, of one item).

    Attributes:
        uri: The corpus.
        storage_options: For fsspec.
        folder: The training set.
        tars: How many tars it has.
    """

    uri: str
    storage_options: Mapping[str, Any]
    folder: str
    tars: int

    def run(self, number: int) -> Summary:
        """Writes `left_out.parquet`, then the manifest.

        Raises:
            CorpusError: A tar is missing; the set is not published.
        """
        folder = SetFolder(Corpus(self.uri, self.storage_options).store, self.folder)
        rows, lost = [], []
        with ThreadPoolExecutor(READS_AT_ONCE) as pool:
            notes = pool.map(lambda tar: read_note(folder, tar), range(self.tars))
            for tar, note in enumerate(notes):
                if note is None:
                    raise CorpusError(
                        f"{folder.path} is not published: tar {tar} of {self.tars} was not "
                        "written. Run the same command again"
                    )
                lost += [{**row, "resolution": note["resolution"]} for row in note.pop("left_out")]
                rows.append(note)
        counts: Counter[str] = Counter()
        name = folder.name(LEFT_OUT)

        def write(file: Path) -> None:
            counts.clear()
            options = {"compression": "zstd", "write_page_checksum": True}
            with pq.ParquetWriter(file, LEFT_OUT_SCHEMA, **options) as writer:
                for table in _left_out(folder, lost):
                    writer.write_table(table)
                    counts.update(_by_reason(table))
            with file.open("rb") as stream:
                os.fsync(stream.fileno())

        folder.store.create_with(name, write)
        folder.publish(rows)
        counts["samples"] = sum(row["samples"] for row in rows)
        return Summary(extra=counts)


def _left_out(folder: SetFolder, lost: list[dict[str, Any]]) -> Iterator[pa.Table]:
    """Who was not planned for, a partition at a time; then those that could not be decoded."""
    for file in folder.store.list(folder.name(OUT)):
        yield read(folder.store, folder.name(f"{OUT}/{file}"), LEFT_OUT_SCHEMA)
    if lost:
        yield pa.Table.from_pylist(lost, LEFT_OUT_SCHEMA)


def _by_reason(table: pa.Table) -> Counter[str]:
    """Rows by resolution and reason, as `256 too_small`."""
    sums = table.group_by(["resolution", "reason"]).aggregate([([], "count_all")]).to_pylist()
    return Counter({f"{row['resolution']} {row['reason']}": row["count_all"] for row in sums})
