"""The verdict tested: how often it alarms between equals, and which faults it sees and names.

    python scripts/verdict_self_test.py --out selftest                # all parts; hours of one core
    python scripts/verdict_self_test.py --out selftest --part aa      # goes on where it was
    python scripts/verdict_self_test.py --out selftest --table        # what is there, as Markdown
    python scripts/verdict_self_test.py --out tried --quick           # the same, small; minutes
    cp -r scripts/verdict/measured selftest                           # go on with what is committed

| part | what is compared |
|---|---|
| `aa` | in `debug`, 120 times: two disjoint random halves of one pool; any alarm is false |
| `share` | `debug`: sets of which 0 to 100 % of the ids differ; do their seeds belong together? |
| `faults` | `nano`: eight kinds of faults in three doses each, six seeds |
| `repeats` | swapped captions, blur and duplicates twice more, other seeds, other pictures; |
| | and the smallest dose of swapped captions until there are ten |

Each comparison is the product's own, from the set's writer to the sentence. It leaves one line in
`lines.jsonl`, without a time, so that two tests of one version leave equal lines; what is there is
not done again, and a comparison that was killed goes on. Several at once need folders of their own.
"""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.verdict.cases import FULL, PARTS, QUICK, Case, cases
from scripts.verdict.lines import Lines
from scripts.verdict.table import table

LINES = "lines.jsonl"


def run(out: Path, chosen: Sequence[Case]) -> Lines:
    """Does the comparisons that have no line yet. Returns all lines."""
    lines = Lines(out / LINES)
    waiting = [case for case in chosen if case.key not in lines]
    if not waiting:
        return lines
    from scripts.verdict.comparing import Bench  # torch, which a table does without

    bench = Bench(out.resolve())
    for number, case in enumerate(waiting, 1):
        line = bench.line(case)
        lines.add(line)
        said = f"{time.strftime('%H:%M:%S')} {number} of {len(waiting)}: {case.key}"
        print(f"{said}: {line['sentence']}", file=sys.stderr, flush=True)
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--out", type=Path, default=Path("selftest"), metavar="FOLDER")
    options.add_argument("--part", action="append", choices=PARTS, help="repeatable [all]")
    options.add_argument("--quick", action="store_true", help="small, all in debug")
    options.add_argument("--table", action="store_true", help="print what is there, run nothing")
    given = options.parse_args(arguments)
    if given.table:
        lines = Lines(given.out / LINES)
    else:
        given.out.mkdir(parents=True, exist_ok=True)
        lines = run(given.out, list(cases(given.part or PARTS, QUICK if given.quick else FULL)))
    print(table(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
