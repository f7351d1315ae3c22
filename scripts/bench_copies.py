"""Measures which copy survives, for pairs of an original and a worse copy, by kind of damage.

    python scripts/bench_copies.py                                  # drawn pictures; some minutes
    python scripts/bench_copies.py --pictures wallpapers --pictures stamps --json copies.json
    python scripts/bench_copies.py --prefer 'width * height desc' --prefer 'bytes desc'

Originals are scenes of the world, textures, and pictures of folders that you name, as JPEG, PNG or
WebP. Each is damaged in the ways of `scripts/copies/damage.py` and saved in one of five ways; both
are measured in this process, put in the order of `select.prefer`, and compared as the stage
`compare` does. An original that comes after its copy would be dropped for it.

All weights were fitted on even originals (`scripts/fit_copies.py`); a row counts the odd ones
alone. `fitted` is the even ones, to be read beside the rest. `copies that are smaller` differ by
size alone. Rows that begin with `further` are kinds beyond those that the order by signals was made
for, and with `unseen` kinds that nothing was fitted on.
"""

import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

# Must be set before numpy is imported; more threads would compete with the processes.
os.environ["OMP_NUM_THREADS"] = "1"

from nucleus_data.stages.compare.preference import PREFER
from scripts.benchmark import Measure, measure, parser, publish
from scripts.copies.comparing import costs
from scripts.copies.damage import Variant
from scripts.copies.measuring import ALL, Work, answers, measured, together
from scripts.copies.originals import originals
from scripts.copies.unseen import FURTHER, UNSEEN
from scripts.rules.counting import share
from scripts.rules.measuring import Row, spread

GOAL, GOAL_KIND = 0.95, 0.85
WHOLE = {"further": "further kinds", "unseen": "unseen kinds", "": "all kinds"}
LAST = ("all kinds", "further kinds", "unseen kinds", "fitted")
SIZE_PREFER = ("width * height desc", "bytes desc")


def kind_of(variant: Variant) -> str:
    """Returns the name of a variant's row in the table."""
    if family := _family(variant):
        return f"{family}: {variant.kind}"
    return "copies that are smaller" if variant.smaller else variant.kind


def costs_of(megapixels: tuple[float, ...]) -> Iterator[Measure]:
    """Yields the processor time per picture."""
    for each in megapixels:
        decoding, comparing = costs(each)
        for name, seconds in (("decoded", decoding), ("compared with another", comparing)):
            milliseconds = [1000 * second for second in seconds]
            yield measure(f"{each:g} megapixels {name}", milliseconds, "ms")


def _family(variant: Variant) -> str:
    """Returns `further` or `unseen`; empty for the original kinds."""
    return "further" if variant in FURTHER else "unseen" if variant in UNSEEN else ""


def table(rows: Sequence[Row], prefer: Sequence[str]) -> Iterator[Measure]:
    """Yields the rows of the benchmark."""
    key = ("group", "number", "variant")
    size, alone = (
        {tuple(row[name] for name in key): right for row, _, right in answers(rows, order)}
        for order in (SIZE_PREFER, prefer)
    )
    counts: dict[str, list[tuple[bool, bool, bool]]] = defaultdict(list)
    for row, variant, right in together(rows, prefer):
        place = tuple(row[name] for name in key)
        answer = (right, alone[place], size[place])
        names = [kind_of(variant), WHOLE[_family(variant)]]
        for name in names if row["number"] % 2 else ["fitted"]:
            counts[name].append(answer)
    for name in [*(k for k in counts if k not in LAST), *LAST]:
        if not (outcomes := counts[name]):
            continue
        right, by_record, by_size = (sum(column) for column in zip(*outcomes, strict=True))
        note = (
            f"{by_record / len(outcomes):.3f} by one record, {by_size / len(outcomes):.3f} by size"
        )
        yield share(name, right, len(outcomes), _goal(name), note)


def _goal(name: str) -> str | None:
    """Returns the goal of a row of the table; None for none."""
    if name == "copies that are smaller":
        return ">= 1"
    if name.startswith(("further", "unseen")):
        return None
    return {"all kinds": f">= {GOAL}", "fitted": None}.get(name, f">= {GOAL_KIND}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns the exit code."""
    command = parser(__doc__)
    command.add_argument("--pictures", type=Path, action="append", help="a folder; repeatable")
    command.add_argument("--prefer", action="append", help="an item of the order; repeatable")
    command.add_argument("--drawn", type=int, default=32, help="scenes; half as many textures")
    command.add_argument("--real", type=int, default=60, help="pictures of each folder at most")
    command.add_argument("--workers", type=int, default=2, help="processes; default 2")
    options = command.parse_args(arguments)
    drawn, real = (2, 2) if options.quick else (options.drawn, options.real)
    places = tuple(range(len(ALL)))
    work = [Work(made, places) for made in originals(options.pictures or [], drawn, real)]
    rows = list(spread(measured, work, options.workers))
    sizes = (0.1,) if options.quick else (1, 2)
    found = [*table(rows, options.prefer or PREFER), *costs_of(sizes)]
    publish(found, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
