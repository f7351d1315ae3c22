"""How far a verdict carries: whether 100 steps order training sets as 800 steps do.

    python scripts/verdict_carries.py --out carries            # some 2.5 core-hours
    python scripts/verdict_carries.py --quick

Seven sets of the same 2,000 pictures (clean; 10 and 30 % of the captions swapped; very short
captions; half of the pictures blurred, blurred more, watermarked) are trained on by `nano` with
three seeds at both lengths, and measured on 160 pictures of another world with true captions. What
is printed, for each measure: in which share of the 21 pairs both lengths say the same set is
better, and the interval by drawing sets. Runs are files in the folder: what was killed goes on.
"""

import os
import sys

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nucleus_model.settings.verdict import PresetName
from nucleus_model.training.verdict.loops import in_processes
from scripts.cases.carrying import SETS, Alike, Run, as_json, do_run, made_sets, ordered


@dataclass(frozen=True)
class Size:
    """How much is done: pictures of a set and of the yardstick, preset, steps, seeds, sets."""

    pictures: int = 2000
    yardstick: int = 200
    preset: PresetName = "nano"
    steps: tuple[int, int] = (100, 800)
    seeds: int = 3
    sets: tuple[str, ...] = SETS


QUICK = Size(64, 16, "debug", (4, 12), 2, ("clean", "swapped_30", "blurred_more"))


def planned(out: Path, size: Size) -> list[Run]:
    """All runs, the short ones first; makes the sets unless they are there."""
    arms, yardstick = made_sets(out / "sets", size.pictures, size.yardstick, size.sets)
    return [
        Run(str(out / "runs"), name, arms[name], yardstick, size.preset, steps, seed)
        for steps in size.steps
        for seed in range(size.seeds)
        for name in size.sets
    ]


def done(runs: Sequence[Run], workers: int) -> Iterator[Run]:
    """Does the runs, and yields each as it ends."""
    if workers < 2:
        for run in runs:
            do_run(run)
            yield run
        return
    yield from in_processes(do_run, runs, workers)


def carries(out: Path, size: Size, workers: int) -> list[Alike]:
    """Makes the sets, does the runs that are not done, and counts the pairs."""
    runs = planned(out, size)
    waiting = [run for run in runs if not run.done]
    for count, run in enumerate(done(waiting, workers), len(runs) - len(waiting) + 1):
        print(
            f"{time.strftime('%H:%M:%S')} {count} of {len(runs)} runs: {run.out.name}",
            file=sys.stderr,
            flush=True,
        )
    found = ordered(runs)
    text = json.dumps(as_json(found), indent=1) + "\n"
    (out / "carries.json").write_text(text, encoding="utf-8")
    return found


def table(found: Sequence[Alike]) -> Iterator[str]:
    """The table, as Markdown."""
    yield "| measure | pairs | ordered alike | 95 %, by drawing sets |"
    yield "|---|---|---|---|"
    for each in found:
        yield (
            f"| `{each.measure}` | {each.pairs} | {each.share:.0%} | {each.low:.0%} to "
            f"{each.high:.0%} |"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep everything there, and go on")
    parser.add_argument("--quick", action="store_true", help="few steps of few sets; no verdict")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--seeds", type=int, metavar="N", help="seeds of each set and length [3]")
    options = parser.parse_args(arguments)
    size = QUICK if options.quick else Size()
    size = replace(size, seeds=options.seeds or size.seeds)
    with tempfile.TemporaryDirectory(prefix="carries-") as folder:
        out = (options.out or Path(folder)).resolve()
        found = carries(out, size, options.workers)
    for line in table(found):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
