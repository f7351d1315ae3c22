"""What every `scripts/bench_*.py` shares: its options, its table, and its JSON.

A measure is the median of some rounds with their spread (largest minus smallest), beside its goal
and what it is compared with.
"""

import argparse
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

COLUMNS = ("name", "value", "unit", "goal", "", "rounds", "spread", "against")


@dataclass(frozen=True)
class Measure:
    """One row of a benchmark.

    Attributes:
        name: What was measured, in a few words.
        value: Median of the rounds.
        unit: Unit of `value` and `spread`.
        goal: `<= NUMBER` or `>= NUMBER`; None if it is there to be read beside the others.
        rounds: How often it was measured.
        spread: Largest minus smallest round.
        against: What it is compared with, if it is a comparison.
    """

    name: str
    value: float
    unit: str
    goal: str | None = None
    rounds: int = 1
    spread: float = 0.0
    against: str | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        if self.goal is None:
            return None
        sign, number = self.goal.split()
        return self.value <= float(number) if sign == "<=" else self.value >= float(number)


def measure(
    name: str,
    values: Sequence[float],
    unit: str,
    goal: str | None = None,
    against: str | None = None,
) -> Measure:
    """The median and the spread of some rounds, to four significant digits.

    Args:
        name: What was measured.
        values: One value a round; at least one.
        unit: Their unit.
        goal: `<= NUMBER` or `>= NUMBER`; None if there is none.
        against: What it is compared with.
    """
    value, spread = statistics.median(values), max(values) - min(values)
    return Measure(
        name, float(f"{value:.4g}"), unit, goal, len(values), float(f"{spread:.4g}"), against
    )


def table(measures: Iterable[Measure]) -> str:
    """The measures as text, one line each, with `met` or `MISSED` beside a goal."""
    lines = [COLUMNS]
    for m in measures:
        met = {True: "met", False: "MISSED", None: ""}[m.met]
        numbers = (f"{m.value:g}", m.unit, m.goal or "", met, str(m.rounds), f"{m.spread:g}")
        lines.append((m.name, *numbers, m.against or ""))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def publish(measures: Sequence[Measure], json_file: Path | None) -> None:
    """Prints the table, and writes the JSON list if a file was asked for."""
    print(table(measures))
    if json_file:
        json_file.write_text(json.dumps([asdict(m) for m in measures], indent=1) + "\n")
        print(json_file)


def parser(description: str) -> argparse.ArgumentParser:
    """A command line with the options that all benchmarks have."""
    found = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    found.add_argument(
        "--quick", action="store_true", help="the same rows at a smaller size, in under 50 seconds"
    )
    return found
