"""What `nucleus dedup` costs a record: the whole stage, in one process and on files by two workers.

    python scripts/bench_dedup_corpus.py                  # 2 million records; some 2 GB of disk
    python scripts/bench_dedup_corpus.py --quick --json dedup_corpus.json

The corpus is tables alone, no tars: `records`, `inspect.file`, `inspect.hash`, with 8 % near copies
and 2 % equal files. From the seconds by phase follows a model of two thousand million records:
every phase grows with the records (the search a little faster than they do: for a thousand million
bare codes, see `bench_dedup.py --out-of-core 1000`), and its tasks share nothing, so time is
core-hours over cores, as long as the store keeps up with the bytes.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.runner.cluster import RaySettings, connected
from nucleus_data.runner.loop import Loop
from nucleus_data.runner.work import Item, Resources, StageReport
from nucleus_data.stages.dedup.gather import READS, ComparedCorpus
from nucleus_data.stages.dedup.settings import DedupSettings
from nucleus_data.stages.dedup.stage import compare
from nucleus_data.world.corpora import hex_texts, write_part
from scripts.bench_dedup import planted
from scripts.benchmark import Measure, measure, parser, publish
from scripts.memory import peak_memory

ROWS_A_SHARD = 10_000
EXACT_SHARE = 0.02
PARTS = 8
WORKERS = 2
HASHES = dict.fromkeys(READS["upright"], "0" * 16)
MODELLED = 2_000_000_000


@dataclass(frozen=True)
class Size:
    """How much is measured: records, and rounds."""

    records: int = 2_000_000
    rounds: int = 3


QUICK = Size(200_000, 2)


def make_corpus(folder: Path, count: int) -> Corpus:
    """A corpus of what `dedup` reads."""
    corpus = Corpus(str(folder), create=True)
    rng = np.random.default_rng(count)
    codes = rng.permutation(planted(count))
    seen: list[Any] = []
    for shard in range(count // ROWS_A_SHARD):
        rows = np.arange(ROWS_A_SHARD, dtype=np.int32)
        digests = hex_texts(rng, ROWS_A_SHARD, 64)
        if seen:  # some are files of the shard before
            again = rng.random(ROWS_A_SHARD) < EXACT_SHARE
            digests = pa.array(np.where(again, seen[-1], np.array(digests)), pa.string())
        seen = [np.array(digests)]
        phash = codes[shard * ROWS_A_SHARD :][:ROWS_A_SHARD]
        # Four times the pHash: confirmed where that is near.
        wide = np.ascontiguousarray(np.repeat(phash[:, None], 4, axis=1)).tobytes()
        key = {
            "shard": pa.array(np.full(ROWS_A_SHARD, shard, np.int32)),
            "row": pa.array(rows),
            "id": hex_texts(rng, ROWS_A_SHARD, 32),
        }
        sides = pa.array(np.full(ROWS_A_SHARD, 640, np.int32))
        tables = {
            "inspect.file": {"width": sides, "height": sides},
            "inspect.hash": {
                "phash": pa.array(phash),
                "hash256": pa.FixedSizeBinaryArray.from_buffers(
                    pa.binary(32), ROWS_A_SHARD, [None, pa.py_buffer(wide)]
                ),
            },
        }
        whole = {"sha256": digests, "error": pa.nulls(ROWS_A_SHARD, pa.string())}
        write_part(corpus.records, shard, pa.table({**key, **whole}))
        for name, values in tables.items():
            write_part(Table(corpus.store, name, HASHES[name]), shard, pa.table({**key, **values}))
    return corpus


def run_once(corpus: Corpus, name: str, records: int, parts: int) -> tuple[dict[str, float], int]:
    """Seconds in all and by phase, and how many pairs were found."""
    seconds: defaultdict[str, float] = defaultdict(float)

    def run_tasks(phase: str, task: Any, items: Iterable[Item], total: int) -> StageReport:
        report = Loop(phase, task, Resources(workers=WORKERS), progress=False).run(items, total)
        seconds[phase.partition("-")[0]] += report.seconds  # `search-2` is block 2 of the search
        return report

    settings = DedupSettings(partition_records=-(-records // parts))
    own = ComparedCorpus(0, corpus.uri, {}, "upright", HASHES, corpus.shards())
    start = time.perf_counter()
    counts = compare(corpus, name, [own], settings, run_tasks)
    if counts is None or counts["records"] != records:
        raise AssertionError(f"not every record was compared: {counts}")
    return {"all": time.perf_counter() - start, **seconds}, counts["pairs"]


def in_memory(folder: str, name: str, records: int) -> tuple[float, float]:
    """Seconds and gigabytes of the search in a process of its own."""
    code = (
        "import sys; from scripts.bench_dedup_corpus import child; "
        "child(sys.argv[1], sys.argv[2], int(sys.argv[3]))"
    )
    command = [sys.executable, "-c", code, folder, name, str(records)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, gigabytes = done.stdout.split()[-2:]
    return float(seconds), float(gigabytes)


def child(folder: str, name: str, records: int) -> None:
    """One search in this process; prints seconds and gigabytes."""
    seconds, _ = run_once(Corpus(folder), name, records, 1)
    print(seconds["all"], peak_memory() / 2**30)


def rows(size: Size, folder: Path) -> list[Measure]:
    """Measures everything; returns the rows of the table."""
    corpus = make_corpus(folder, size.records)
    alone = [in_memory(corpus.uri, f"memory{i}", size.records) for i in range(size.rounds)]
    with connected(RaySettings(num_cpus=WORKERS)):
        run_once(corpus, "warm", size.records, PARTS)  # compiles the search in the workers
        runs = [run_once(corpus, f"files{i}", size.records, PARTS) for i in range(size.rounds)]
    millions = size.records / 1e6
    what = f"{millions:g} M records"
    found = [
        measure(f"{what}, in one process", [seconds for seconds, _ in alone], "s"),
        measure(f"{what}, in one process: largest memory", [memory for _, memory in alone], "GB"),
        measure(f"{what}, {WORKERS} workers, {PARTS} parts", [r["all"] for r, _ in runs], "s"),
        measure(f"{what}: pairs found", [pairs for _, pairs in runs], ""),
    ]
    for phase in ("gather", "bytes", "classes", "deal", "search", "write"):
        taken = [WORKERS * run[phase] / millions for run, _ in runs]
        found.append(measure(f"{phase}: core-seconds a million records", taken, "s"))
    hours = [WORKERS * run["all"] / size.records * MODELLED / 3600 for run, _ in runs]
    found.append(measure(f"model of {MODELLED / 1e9:g} billion records", hours, "core-hours"))
    return found


def main() -> None:
    """The command."""
    args = parser(__doc__ or "").parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-dedup-corpus-") as folder:
        publish(rows(QUICK if args.quick else Size(), Path(folder)), args.json)


if __name__ == "__main__":
    main()
