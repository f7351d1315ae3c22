"""Which copy survives: pairs of an original and a worse copy, by kind of damage.

    python scripts/bench_copies.py                                  # drawn pictures; some minutes
    python scripts/bench_copies.py --pictures wallpapers --pictures stamps --json copies.json
    python scripts/bench_copies.py --prefer 'width * height desc' --prefer 'bytes desc'

Originals are scenes of the world, textures, and pictures of folders that you name, as JPEG, PNG or
WebP. Each is damaged in the ways of `scripts/copies/damage.py` and saved in one of five ways; both
are measured in this process and put in the order of `select.prefer`. An original that comes after
its copy would be dropped for it.

The weights of the default order were fitted on even originals and on the variants that are not held
back; a row counts the others alone. `fitted` is what was used, to be read beside the rest.
`copies that are smaller` differ by size alone.
"""

import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

# Before numpy: more threads would only get in each other's way.
os.environ["OMP_NUM_THREADS"] = "1"

from nucleus_data.stages.select.preference import PREFER
from scripts.benchmark import Measure, parser, publish
from scripts.copies.damage import Variant
from scripts.copies.measuring import Work, answers, measured
from scripts.copies.originals import originals
from scripts.copies.variants import VARIANTS
from scripts.rules.counting import share
from scripts.rules.measuring import Row, spread

GOAL, GOAL_KIND = 0.95, 0.85
SIZE_PREFER = ("width * height desc", "bytes desc")


def kind_of(variant: Variant) -> str:
    """What a row of the table is called."""
    return "copies that are smaller" if variant.smaller else variant.kind


def table(rows: Sequence[Row], prefer: Sequence[str]) -> Iterator[Measure]:
    """Yields the rows of the benchmark."""
    plain = {(r["group"], r["number"], r["variant"]): ok for r, _, ok in answers(rows, SIZE_PREFER)}
    counts: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for row, variant, right in answers(rows, prefer):
        held = variant.held or row["number"] % 2 == 1
        answer = (right, plain[row["group"], row["number"], row["variant"]])
        counts[kind_of(variant) if held else "fitted"].append(answer)
        if held:
            counts["all kinds"].append(answer)
    last = ("all kinds", "fitted")
    for name in [*(k for k in counts if k not in last), *last]:
        if not (found := counts[name]):
            continue
        if name == "copies that are smaller":
            goal = ">= 1"
        else:
            goal = {"all kinds": f">= {GOAL}", "fitted": None}.get(name, f">= {GOAL_KIND}")
        by_size = sum(size for _, size in found) / len(found)
        right = sum(ok for ok, _ in found)
        yield share(name, right, len(found), goal, f"{by_size:.3f} by size and bytes")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    command = parser(__doc__)
    command.add_argument("--pictures", type=Path, action="append", help="a folder; repeatable")
    command.add_argument("--prefer", action="append", help="an item of the order; repeatable")
    command.add_argument("--drawn", type=int, default=32, help="scenes; half as many textures")
    command.add_argument("--real", type=int, default=60, help="pictures of each folder at most")
    command.add_argument("--workers", type=int, default=2, help="processes; default 2")
    options = command.parse_args(arguments)
    drawn, real = (2, 2) if options.quick else (options.drawn, options.real)
    places = tuple(range(len(VARIANTS)))
    work = [Work(made, places) for made in originals(options.pictures or [], drawn, real)]
    rows = list(spread(measured, work, options.workers))
    publish(list(table(rows, options.prefer or PREFER)), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
