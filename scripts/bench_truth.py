"""Measures how often the truth tests of captions stop correct and faulty engines.

    python scripts/bench_truth.py              # pretended engines: 100 right, 20 of each fault
    python scripts/bench_truth.py --nano 3     # and the nano captioner, as often of each
    python scripts/bench_truth.py --quick

Correct engines give the same answer for the same picture, except for noise due to other requests:
the world's captions in four lengths; one of five labels; "no watermark" for nearly all pictures; a
refusal for one in eight. Noise replaces a label, or "no watermark", by another answer. The pictures
are of distinct scenes, or near-equal. Faulty engines show the model another picture. The output is
Markdown; `scripts/truth` defines the engines.
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import get_args

os.environ.setdefault("OMP_NUM_THREADS", "1")

from nucleus_data.engines.captioner import Engine, EngineSettings
from nucleus_data.engines.load import load_engine
from scripts.truth.engines import (
    IN_FLIGHT,
    MODELS,
    Broken,
    FaultName,
    Pretended,
    draw_pictures,
)
from scripts.truth.running import Outcome, run_probes

PICTURES = 280
NOISES = (0.0, 0.02, 0.05, 0.1, 0.3)
VARIANTS = ("tags", "very_short", "short", "long")
SHARES: dict[FaultName, tuple[float, ...]] = {
    "swap": (0.05, 0.2, 1.0),
    "off_by_one": (1.0, 0.3),
    "stale": (0.05, 1.0),
    "same_size": (1.0,),
    "blind": (1.0, 0.8, 0.5, 0.2),
    "blind_in_crowd": (0.1, 1.0),
}
SAID = {
    "swap": "the picture of another request in flight",
    "off_by_one": "the picture of the request before, but for the first of a batch",
    "stale": "the picture before, out of a cache",
    "same_size": "the first picture of its size, out of a cache",
    "blind": "no picture, whether others are in flight or not",
    "blind_in_crowd": "no picture, where others are in flight",
}
WRONG_SEED = 50_000


@dataclass(frozen=True)
class Line:
    """The outcomes of several runs."""

    what: str
    outcomes: tuple[Outcome, ...]

    @property
    def stopped(self) -> int:
        """Runs that were stopped."""
        return sum(bool(outcome.stopped) for outcome in self.outcomes)

    @property
    def warned(self) -> int:
        """Runs that went on with a warning."""
        return sum(not outcome.stopped and outcome.warned for outcome in self.outcomes)

    def text(self) -> str:
        """Returns a line of the table of right engines."""
        probes = sum(outcome.counts.get("truth_probes", 0) for outcome in self.outcomes)
        same = sum(outcome.counts.get("truth_same", 0) for outcome in self.outcomes)
        share = f"{same / max(probes, 1):.1%}"
        return f"| {self.what} | {len(self.outcomes)} | {self.stopped} | {self.warned} | {share} |"


def right_runs(runs: int) -> Iterator[Line]:
    """Runs correct engines of all kinds, noises, lengths and pictures."""
    cases = list(product(NOISES, VARIANTS, (1, 4, 20)))
    for name, model in MODELS.items():
        outcomes = []
        for number in range(runs // len(MODELS)):
            # 7 and 60 are coprime, so all cases occur before one is repeated.
            noise, variant, copies = cases[7 * number % len(cases)]
            pictures = draw_pictures(number, PICTURES, copies=copies)
            engine = Pretended(pictures, model, noise, number)
            outcomes.append(run_probes(engine, pictures, variant))
        yield Line(f"right: {name}", tuple(outcomes))


def wrong_runs(runs: int, count: int) -> Iterator[str]:
    """Runs faulty engines, with a little noise; returns a line of each fault, a column a model."""
    for fault in get_args(FaultName):
        for share in SHARES[fault]:
            cells = []
            for model in MODELS.values():
                outcomes = []
                for number in range(runs):
                    pictures = draw_pictures(WRONG_SEED + number, count)
                    engine = Pretended(pictures, model, noise=0.05, seed=number)
                    broken = Broken(engine, fault, share, number)
                    outcomes.append(run_probes(broken, pictures, VARIANTS[1 + number % 3]))
                line = Line("", tuple(outcomes))
                cells.append(f"{line.stopped} + {line.warned}")
            yield f"| {SAID[fault]}: {share:.0%} | {' | '.join(cells)} |"


def nano_runs(runs: int) -> Iterator[Line]:
    """Runs the nano captioner, correct and faulty."""
    engine = load_engine(EngineSettings(max_in_flight=IN_FLIGHT))
    for copies in (1, 4):
        outcomes = []
        for number in range(runs):
            pictures = draw_pictures(number, PICTURES, copies=copies)
            outcomes.append(run_probes(engine, pictures, VARIANTS[1 + number % 3]))
        kind = "distinct" if copies == 1 else "near-equal"
        yield Line(f"right: nano captioner ({engine.name}), {kind} pictures", tuple(outcomes))
    for fault in get_args(FaultName):
        share = SHARES[fault][0]
        outcomes = [_nano_wrong(engine, fault, share, number) for number in range(runs)]
        yield Line(f"nano captioner, {SAID[fault]}: {share:.0%} of requests", tuple(outcomes))


def _nano_wrong(engine: Engine, fault: FaultName, share: float, number: int) -> Outcome:
    pictures = draw_pictures(WRONG_SEED + number, PICTURES)
    return run_probes(Broken(engine, fault, share, number), pictures, VARIANTS[1 + number % 3])


def main() -> None:
    """Prints the tables."""
    command = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    command.add_argument("--right", type=int, default=100, help="runs of right engines")
    command.add_argument("--wrong", type=int, default=20, help="runs of each fault")
    command.add_argument("--nano", type=int, default=0, help="runs of the nano captioner, of each")
    command.add_argument("--quick", action="store_true", help="a fifth of the runs")
    args = command.parse_args()
    part = 5 if args.quick else 1
    start = time.perf_counter()
    head = "| engine | runs | stopped | warned | probes that said the same alone |\n"
    head += "|---|---|---|---|---|"
    print(head)
    for line in right_runs(args.right // part):
        print(line.text(), flush=True)
    print(f"\nOf {args.wrong // part} runs: stopped + warned\n")
    print(f"| faulty requests get | {' | '.join(MODELS)} |\n|---|{'---|' * len(MODELS)}")
    for text in wrong_runs(args.wrong // part, PICTURES):
        print(text, flush=True)
    if args.nano:
        print(f"\n{head}")
        for line in nano_runs(args.nano):
            print(line.text(), flush=True)
    print(f"\n{PICTURES} pictures a run; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
