"""Processor time of what a newcomer does first, each the median of some runs, against its bound.

    python scripts/bench_commands.py

Commands that only look, a typo and a wrong key: at most 0.9 s, and neither Ray, torch nor numba is
loaded. Ingest of eight pictures: at most 2.5 s with its worker's, and no Ray. Processor time
of this machine, user and system, children included; the first run, which reads files from the disk,
is not counted. Ends with 1 if a bound is broken.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from nucleus_data.world import render, scene

ROOT = Path(__file__).resolve().parents[1]
LOOKING_S, INGEST_S = 0.9, 2.5
HEAVY = ("ray", "torch", "numba")
# Prints, at the very end of a command, which heavy packages it has loaded.
WATCHED = f"""
import os, sys
from nucleus_data.commands import main
leave = os._exit
def end(code):
    print("LOADED", *(name for name in {HEAVY} if name in sys.modules), file=sys.stderr, flush=True)
    leave(code)
os._exit = end
main(sys.argv[1:])
"""


def run(arguments: list[str], folder: Path) -> tuple[float, list[str]]:
    """Runs a command; returns its processor seconds, with children, and heavy packages loaded."""
    env = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(
        [sys.executable, "-c", WATCHED, *arguments],
        cwd=folder,
        env={**env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    loaded = ended.stderr.rpartition("LOADED")[2].split()
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, loaded


def measure(
    name: str, arguments: Callable[[int], list[str]], bound: float, runs: int, folder: Path
) -> dict[str, object]:
    """Runs a command several times, and prints whether it stays within its bound."""
    runs_done = [run(arguments(number), folder) for number in range(runs + 1)][1:]
    seconds = [used for used, _ in runs_done]
    loaded = sorted({package for _, packages in runs_done for package in packages})
    median = statistics.median(seconds)
    passed = median <= bound and not loaded
    spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
    print(
        f"{'pass' if passed else 'FAIL'}  {name:<22} {median:.2f} s ({spread}, n={runs}), "
        f"allowed {bound:g} s; loaded: {', '.join(loaded) or 'nothing heavy'}"
    )
    return {"name": name, "seconds": seconds, "bound": bound, "loaded": loaded, "pass": passed}


def main() -> None:
    """Measures all commands, and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="Write the figures to this file.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "pictures").mkdir()
        for number in range(8):
            render(scene(0, number), 800, 600).save(folder / f"pictures/{number}.jpg")
        ingest = ["ingest", "ingest.source=pictures"]
        run([*ingest, "corpus=c"], folder)
        looking = {
            "status": ["status", "corpus=c"],
            "a typo": ["statsu", "corpus=c"],
            "a wrong key": ["status", "corpus=c", "dedup.distnace=3"],
            "explain": ["explain", "3.jpg", "corpus=c"],
        }
        results = [
            measure(name, lambda _, line=line: line, LOOKING_S, given.runs, folder)  # type: ignore[misc]
            for name, line in looking.items()
        ]
        results.append(
            measure(
                "ingest of 8 pictures",
                lambda number: [*ingest, f"corpus=new-{number}"],
                INGEST_S,
                given.runs,
                folder,
            )
        )
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))
    sys.exit(not all(result["pass"] for result in results))


if __name__ == "__main__":
    main()
