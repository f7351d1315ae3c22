"""Measures the writing of the synthetic world: one process, two, and the floor of encoding alone.

    python scripts/bench_world.py                       # four minutes on two idle cores
    python scripts/bench_world.py --quick --json world.json

For the floor, the same pictures are painted beforehand, then encoded and written by Pillow in one
process: no generator of these files can be faster on one core.
"""

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Must be set before numpy is imported; more threads would compete with the processes.
os.environ["OMP_NUM_THREADS"] = "1"

from nucleus_data.world import WorldSettings, render, scene, write_world
from nucleus_data.world.files import encoded
from nucleus_data.world.plan import NONE, WorldPlan
from scripts.benchmark import Measure, measure, parser, publish

SEED = 0


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        images: Number of pictures of the large world.
        sample: Number of pictures of the comparisons.
        rounds: Number of rounds of each comparison.
    """

    images: int = 10_000
    sample: int = 600
    rounds: int = 5


QUICK = Size(images=600, sample=150, rounds=2)


def written(folder: Path, images: int, workers: int, level: str = "core") -> float:
    """Writes a world, and returns the seconds."""
    started = time.perf_counter()
    write_world(folder, WorldSettings(images, SEED, level), workers=workers)  # type: ignore[arg-type]
    return time.perf_counter() - started


def floor(images: int) -> float:
    """Returns seconds per picture to encode and write clean pictures that are already painted."""
    # Painted before anything is timed, so that only the unavoidable work is measured.
    lines = [line for line in WorldPlan(WorldSettings(images, SEED)) if line.fault == NONE][:60]
    pictures = [render(scene(SEED, p.scene), p.width, p.height) for p in lines]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        for line, picture in zip(lines, pictures, strict=True):
            Path(folder, f"{line.index}").write_bytes(encoded(picture, line.format, line.quality))
        return (time.perf_counter() - started) / len(lines)


def digest(folder: Path) -> str:
    """Returns a hash of all files and their names."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return total.hexdigest()


def run(size: Size, root: Path) -> list[Measure]:
    """Measures everything, and returns the rows of the table."""
    one, two, full, floors, equal = [], [], [], [], []
    for turn in range(size.rounds):
        print(f"round {turn + 1} of {size.rounds}", file=sys.stderr, flush=True)
        floors.append(1000 * floor(size.sample))
        one.append(written(root / "one", size.sample, 1))
        two.append(written(root / "two", size.sample, 2))
        full.append(written(root / "full", size.sample, 1, "full"))
        equal.append(digest(root / "one") == digest(root / "two"))
    print(f"{size.images:,} pictures", file=sys.stderr, flush=True)
    whole = written(root / "whole", size.images, 2)
    bytes_ = sum(p.stat().st_size for p in (root / "whole").rglob("*") if p.is_file())
    pixels = sum(p.width * p.height for p in WorldPlan(WorldSettings(2000, SEED))) / 2000
    per_picture = [1000 * seconds / size.sample for seconds in one]
    ratios = [ms / floor_ms for ms, floor_ms in zip(per_picture, floors, strict=True)]
    return [
        measure(
            f"{size.images:,} pictures, two workers",
            [whole * 10_000 / size.images / 60],
            "minutes a 10,000",
            "<= 3",
        ),
        measure("core, one worker: a picture", per_picture, "ms"),
        measure("full, one worker: a picture", [1000 * s / size.sample for s in full], "ms"),
        measure("encoding and writing alone: a picture", floors, "ms"),
        measure("core, one worker: time", ratios, "times", None, "encoding and writing alone"),
        measure(
            "core, two workers: speed, their start included",
            [a / b for a, b in zip(one, two, strict=True)],
            "times",
            None,
            "one worker",
        ),
        measure("rounds with equal bytes, one and two workers", [float(all(equal))], "", ">= 1"),
        measure("a picture", [pixels / 1e6], "megapixels", ">= 0.15"),
        measure("a picture", [bytes_ / size.images / 1000], "kB"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns the exit code."""
    options = parser(__doc__).parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-world-") as folder:
        measures = run(QUICK if options.quick else Size(), Path(folder))
    publish(measures, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
