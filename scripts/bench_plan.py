"""Measures time and memory of planning a training set, by the number of records.

    python scripts/bench_plan.py                    # 1 and 4 million records, some minutes
    python scripts/bench_plan.py --quick --json plan.json

The corpora consist of tables only (10,000 records per shard, with mixed sizes, sources, tiers and
captions), as planning reads no pictures. Each size runs three times, in a process of its own, which
does all phases one after the other, as two workers would do them at the same time. Peak memory and
processor time are measured.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.corpus import RECORDS_HASH
from nucleus_data.corpus.tables import KEY_FIELDS, Table
from nucleus_data.runner.attempts import do_item
from nucleus_data.runner.work import Item
from nucleus_data.stages.shard.plan import PHASES, Planning, pieces_of
from nucleus_data.stages.shard.settings import ShardSettings
from nucleus_data.world.corpora import RECORDS, hex_texts, write_part
from scripts.benchmark import Measure, measure, parser, publish
from scripts.memory import peak_memory

A_SHARD = 10_000
TABLES = {"records": RECORDS_HASH, "selection": "5" * 16, "inspect.file": "f" * 16}
SELECTION = pa.schema(
    [*KEY_FIELDS, *((name, pa.string()) for name in ("state", "tier", "curriculum"))]
)
FILE = pa.schema([*KEY_FIELDS, ("width", pa.int32()), ("height", pa.int32())])
RESOLUTIONS = (256, 512, 1024)
GOAL_S, GOAL_MB, CORES = 15, 50, 2
ROUNDS = 3


def metadata_corpus(
    folder: Path, shards: int, a_shard: int = A_SHARD, *, seed: int = 0, tiers: bool = True
) -> Corpus:
    """Makes a corpus of tables only: records, sizes and a selection, without pictures.

    Args:
        folder: The corpus's folder.
        shards: Number of image shards.
        a_shard: Records per shard.
        seed: Seed of the sizes, sources, tiers and captions.
        tiers: Whether the selection has quality tiers and curriculum buckets.
    """
    corpus = Corpus(str(folder), create=True)
    for shard in range(shards):
        rng = np.random.default_rng([seed, shard])
        ids = hex_texts(rng, a_shard, 32)
        keys = {
            "shard": np.full(a_shard, shard, np.int32),
            "row": np.arange(a_shard, dtype=np.int32),
            "id": ids,
        }
        size = rng.integers(20_000, 900_000, a_shard)
        area, ratio = 2.0 ** rng.uniform(14, 22.5, a_shard), 2.0 ** rng.normal(0, 0.6, a_shard)
        sides = {"width": np.sqrt(area * ratio), "height": np.sqrt(area / ratio)}
        records = {
            **keys,
            "source": pa.array(np.array(["web", "stock", "museum"])[_skewed(rng, a_shard, 3)]),
            "key": ids,
            "file": ids,
            "offset": np.cumsum(size + 1536) - size,
            "size": size,
            "sha256": hex_texts(rng, a_shard, 64),
            "error": pa.nulls(a_shard),
            "detail": pa.nulls(a_shard),
            "retryable": np.zeros(a_shard, bool),
            "source.caption": pa.array(np.array(["", "a picture"])[_skewed(rng, a_shard, 2)]),
        }
        write_part(corpus.records, shard, pa.table(records).cast(RECORDS))
        whole = {name: np.maximum(1, side).astype(np.int32) for name, side in sides.items()}
        _write(corpus, "inspect.file", shard, pa.table({**keys, **whole}).cast(FILE))
        none = pa.nulls(a_shard, pa.string())
        tier = pa.array(np.array(["A1", "A2", "A3"])[_skewed(rng, a_shard, 3)]) if tiers else none
        bucket = pa.array(np.array(["B1", "B2"])[_skewed(rng, a_shard, 2)]) if tiers else none
        state = np.array(["kept", "rejected"])[(rng.random(a_shard) < 0.1).astype(int)]
        chosen = {**keys, "state": pa.array(state), "tier": tier, "curriculum": bucket}
        _write(corpus, "selection", shard, pa.table(chosen).cast(SELECTION))
    return corpus


def _skewed(rng: np.random.Generator, count: int, kinds: int) -> np.ndarray:
    shares = 0.5 ** np.arange(1, kinds + 1)
    return rng.choice(kinds, count, p=shares / shares.sum())


def _write(corpus: Corpus, name: str, shard: int, rows: pa.Table) -> None:
    write_part(Table(corpus.store, name, TABLES[name]), shard, rows)


def planned(corpus: Corpus, settings: ShardSettings, folder: str = "sets/bench/0") -> Planning:
    """Plans a set of a corpus, with all phases in this process."""
    shards = corpus.at("selection", TABLES["selection"]).shards()
    planning = Planning(corpus.uri, {}, folder, TABLES, settings, pieces_of(shards))
    tars = 0
    for phase in PHASES:
        task = planning.at(phase)
        for number in range(task.items(tars)):
            tars += do_item(task, Item(number)).extra["tars"]
    return planning


def run_one(folder: Path) -> dict[str, float]:
    """Plans in this process; returns seconds, processor seconds, megabytes and tars."""
    settings = ShardSettings(resolutions=RESOLUTIONS)
    for earlier in ("warm", "c/sets"):
        shutil.rmtree(folder / earlier, ignore_errors=True)
    planned(metadata_corpus(folder / "warm", 1, 100), settings)  # imports apart
    before = peak_memory() / 2**20
    start, used = time.perf_counter(), time.process_time()
    planning = planned(Corpus(str(folder / "c")), settings)
    return {
        "seconds": time.perf_counter() - start,
        "processor": time.process_time() - used,
        "before": before,
        "memory": peak_memory() / 2**20,
        "tars": planning.totals().tars,
    }


def child() -> None:
    """Plans the corpus in the folder that the argument names; the code of a child process."""
    print(json.dumps(run_one(Path(sys.argv[1]))))


def in_process(folder: Path) -> dict[str, float]:
    """Runs `run_one` in a process of its own, to measure its peak memory."""
    code = "from scripts.bench_plan import child; child()"
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main(args: argparse.Namespace) -> list[Measure]:
    """Plans corpora of growing sizes, and returns the rows."""
    measures: list[Measure] = []
    memory: list[list[float]] = []
    rounds = 1 if args.quick else ROUNDS
    for millions in (0.1, 0.4) if args.quick else (1, 4):
        shards = round(millions * 1_000_000 / A_SHARD)
        with tempfile.TemporaryDirectory() as name:
            metadata_corpus(Path(name) / "c", shards)
            runs = [in_process(Path(name)) for _ in range(rounds)]
        processor = [run["processor"] for run in runs]
        memory.append([run["memory"] for run in runs])
        of = f"{millions:g} M records"
        measures += [
            # Two workers share the tasks: half of the processor time, if nothing else runs.
            measure(
                f"{of}: a million, two cores",
                [seconds / millions / CORES for seconds in processor],
                "s",
                f"<= {GOAL_S}",
            ),
            measure(f"{of}: processor", processor, "s"),
            measure(f"{of}: largest memory of a task", memory[-1], "MB"),
        ]
    growth = [large - small for small, large in zip(*memory, strict=True)]
    # Small corpora do not fill the partitions, so memory still grows with their size.
    goal = None if args.quick else f"<= {GOAL_MB}"
    measures.append(measure("memory that four times the records take more", growth, "MB", goal))
    return measures


if __name__ == "__main__":
    options = parser(__doc__).parse_args()
    publish(main(options), options.json)
