"""Measures `nucleus dedup` per record: the whole stage, in memory and on files by two workers.

    python scripts/bench_dedup_corpus.py                  # 2 million records; some 2 GB of disk
    python scripts/bench_dedup_corpus.py --quick --json dedup_corpus.json

The corpus consists of tables only, without tars: `records`, `inspect.file`, `inspect.hash`, with
8 % near copies and 2 % equal files. The seconds per phase give an estimate for two thousand million
records. Every phase grows in proportion to the records (the search slightly faster: for a thousand
million bare codes, see `bench_dedup.py --out-of-core 1000`), and its tasks share nothing. So the
time is the core-hours divided by the cores, as long as the store is fast enough.
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
    """How much is measured: numbers of records and of rounds."""

    records: int = 2_000_000
    rounds: int = 3


QUICK = Size(200_000, 2)


def make_corpus(folder: Path, count: int) -> Corpus:
    """Makes a corpus with the tables that `dedup` reads."""
    corpus = Corpus(str(folder), create=True)
    rng = np.random.default_rng(count)
    codes = rng.permutation(planted(count))
    seen: list[Any] = []
    for shard in range(count // ROWS_A_SHARD):
        rows = np.arange(ROWS_A_SHARD, dtype=np.int32)
        digests = hex_texts(rng, ROWS_A_SHARD, 64)
        if seen:  # some records have the same file as one in the previous shard
            again = rng.random(ROWS_A_SHARD) < EXACT_SHARE
            digests = pa.array(np.where(again, seen[-1], np.array(digests)), pa.string())
        seen = [np.array(digests)]
        phash = codes[shard * ROWS_A_SHARD :][:ROWS_A_SHARD]
        # The 256-bit hash repeats the pHash four times, so near pHashes are always confirmed.
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
    """Runs the stage; returns the seconds, in total and by phase, and the number of pairs."""
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
    """Runs the search in a process of its own, and returns its seconds and gigabytes."""
    code = (
        "import sys; from scripts.bench_dedup_corpus import child; "
        "child(sys.argv[1], sys.argv[2], int(sys.argv[3]))"
    )
    command = [sys.executable, "-c", code, folder, name, str(records)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, gigabytes = done.stdout.split()[-2:]
    return float(seconds), float(gigabytes)


def child(folder: str, name: str, records: int) -> None:
    """Runs one search in this process, and prints seconds and gigabytes."""
    seconds, _ = run_once(Corpus(folder), name, records, 1)
    print(seconds["all"], peak_memory() / 2**30)


def rows(size: Size, folder: Path) -> list[Measure]:
    """Measures everything, and returns the rows of the table."""
    corpus = make_corpus(folder, size.records)
    alone = [in_memory(corpus.uri, f"memory{i}", size.records) for i in range(size.rounds)]
    with connected(RaySettings(num_cpus=WORKERS)):
        run_once(corpus, "warm", size.records, PARTS)  # warms up: compiles the search
        runs = [run_once(corpus, f"files{i}", size.records, PARTS) for i in range(size.rounds)]
    millions = size.records / 1e6
    what = f"{millions:g} M records"
    measures = [
        measure(f"{what}, in one process", [seconds for seconds, _ in alone], "s"),
        measure(f"{what}, in one process: largest memory", [memory for _, memory in alone], "GB"),
        measure(f"{what}, {WORKERS} workers, {PARTS} parts", [r["all"] for r, _ in runs], "s"),
        measure(f"{what}: pairs found", [pairs for _, pairs in runs], ""),
    ]
    for phase in ("gather", "bytes", "classes", "deal", "search", "write"):
        taken = [WORKERS * run[phase] / millions for run, _ in runs]
        measures.append(measure(f"{phase}: core-seconds a million records", taken, "s"))
    hours = [WORKERS * run["all"] / size.records * MODELLED / 3600 for run, _ in runs]
    measures.append(measure(f"model of {MODELLED / 1e9:g} billion records", hours, "core-hours"))
    return measures


def main() -> None:
    """Runs the command."""
    args = parser(__doc__ or "").parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-dedup-corpus-") as folder:
        publish(rows(QUICK if args.quick else Size(), Path(folder)), args.json)


if __name__ == "__main__":
    main()
