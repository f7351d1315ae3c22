"""Publishes a set: writes its manifest and the list of left-out records, from the tasks' notes."""

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.dealing import READS_AT_ONCE
from nucleus_data.errors import CorpusError
from nucleus_data.runner.work import Summary
from nucleus_data.sets.beside import read
from nucleus_data.sets.card import README
from nucleus_data.sets.facts import FACTS, Facts, most
from nucleus_data.sets.layout import LEFT_OUT, LEFT_OUT_SCHEMA, SetFolder
from nucleus_data.sets.planned import PLANS
from nucleus_data.stages.shard.settings import ShardSettings
from nucleus_data.stages.shard.write import read_note

OUT = f"{PLANS}/out"


@dataclass(frozen=True)
class PublishTask:
    """Publishes a set whose tars are written (a task for the runner, with one item).

    Attributes:
        uri: The corpus.
        storage_options: Options for fsspec.
        folder: The training set.
        tars: Number of tars.
        settings: How pictures are stored.
    """

    uri: str
    storage_options: Mapping[str, Any]
    folder: str
    tars: int
    settings: ShardSettings

    def about(self, loss: Sequence[int]) -> dict[str, Any]:
        """Returns the manifest's metadata: format, quality, crop, and the encoding loss (PSNR)."""
        chosen = {n: getattr(self.settings, n) for n in ("format", "quality", "crop", "crop_loss")}
        return {**chosen, "psnr": psnr(*loss), "psnr_values": loss[1]}

    def run(self, number: int) -> Summary:
        """Writes `left_out.parquet`, then the manifest.

        Raises:
            CorpusError: A tar is missing; the set is not published.
        """
        folder = SetFolder(Corpus(self.uri, self.storage_options).store, self.folder)
        sources: Counter[str] = Counter()
        licences: Counter[str] = Counter()
        rows, lost, loss = [], [], [0, 0]
        with ThreadPoolExecutor(READS_AT_ONCE) as pool:
            notes = pool.map(lambda tar: read_note(folder, tar), range(self.tars))
            for tar, note in enumerate(notes):
                if note is None and folder.published:
                    # By another run, which then removed its notes.
                    samples = sum(entry.samples for entry in folder.manifest())
                    return Summary(extra=Counter(samples=samples))
                if note is None:
                    raise CorpusError(
                        f"{folder.path} is not published: tar {tar} of {self.tars} was not "
                        "written. Run the same command again"
                    )
                lost += [{**row, "resolution": note["resolution"]} for row in note.pop("left_out")]
                sources.update(note.pop("sources", {}))
                licences.update(note.pop("licences", {}))
                loss = [a + b for a, b in zip(loss, note.pop("loss"), strict=True)]
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
        origin = Facts(sources=most(sources), licences=most(licences))
        folder.store.put(folder.name(FACTS), origin.encode())  # `card` adds the rest
        # If the tars were made again, an old card may exist; removed, so that it is written again.
        folder.store.remove(folder.name(README))
        folder.publish(rows, self.about(loss))
        counts["samples"] = sum(row["samples"] for row in rows)
        return Summary(extra=counts)


def psnr(squared: int, values: int) -> float | None:
    """Returns the peak signal-to-noise ratio in dB; None if nothing was lost or measured."""
    return round(10 * math.log10(255**2 * values / squared), 2) if squared else None


def _left_out(folder: SetFolder, lost: list[dict[str, Any]]) -> Iterator[pa.Table]:
    """Yields records left out of the plan, by partition; then those that could not be decoded."""
    for file in folder.store.list(folder.name(OUT)):
        yield read(folder.store, folder.name(f"{OUT}/{file}"), LEFT_OUT_SCHEMA)
    if lost:
        yield pa.Table.from_pylist(lost, LEFT_OUT_SCHEMA)


def _by_reason(table: pa.Table) -> Counter[str]:
    """Counts rows by resolution and reason, with keys such as `256 too_small`."""
    sums = table.group_by(["resolution", "reason"]).aggregate([([], "count_all")]).to_pylist()
    return Counter({f"{row['resolution']} {row['reason']}": row["count_all"] for row in sums})
