"""How often the truth tests of captions stop a right engine, and how often a wrong one.

    python scripts/bench_truth.py              # pretended engines: 100 right, 20 of each fault
    python scripts/bench_truth.py --nano 3     # and the nano captioner, as often of each
    python scripts/bench_truth.py --quick

Right engines say the same of the same picture but for noise among others: the world's captions of
four lengths, one of five labels, "no watermark" of nearly all pictures, a refusal of one in eight;
pictures of distinct scenes, and near-equal ones. Wrong ones show the model another picture. What is
printed is Markdown; how it is drawn is in `scripts/truth`.
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
    "off_by_one": (1.0,),
    "stale": (0.05, 1.0),
    "same_size": (1.0,),
    "blind": (1.0,),
    "blind_in_crowd": (0.1, 1.0),
}
SAID = {
    "swap": "the picture of another request in flight",
    "off_by_one": "the picture of the request before, but for the first of a batch",
    "stale": "the picture before, out of a cache",
    "same_size": "the first picture of its size, out of a cache",
    "blind": "no picture, ever",
    "blind_in_crowd": "no picture, where others are in flight",
}
WRONG_SEED = 50_000


@dataclass(frozen=True)
class Line:
    """Some runs, and how they ended."""

    what: str
    outcomes: tuple[Outcome, ...]

    def text(self) -> str:
        """A line of the table."""
        runs = len(self.outcomes)
        stopped = sum(bool(one.stopped) for one in self.outcomes)
        warned = sum(not one.stopped and one.warned for one in self.outcomes)
        probes = sum(one.counts.get("truth_probes", 0) for one in self.outcomes)
        same = sum(one.counts.get("truth_same", 0) for one in self.outcomes)
        return f"| {self.what} | {runs} | {stopped} | {warned} | {same / max(probes, 1):.1%} |"


def right_runs(runs: int) -> Iterator[Line]:
    """Right engines, each kind of model in turn, with all noises, lengths and kinds of pictures."""
    cases = list(product(NOISES, VARIANTS, (1, 4, 20)))
    for name, model in MODELS.items():
        outcomes = []
        for number in range(runs // len(MODELS)):
            # 7 and 60 share no factor: all cases come before one comes again.
            noise, variant, copies = cases[7 * number % len(cases)]
            pictures = draw_pictures(number, PICTURES, copies=copies)
            engine = Pretended(pictures, model, noise, number)
            outcomes.append(run_probes(engine, pictures, variant))
        yield Line(f"right: {name}", tuple(outcomes))


def wrong_runs(runs: int, count: int) -> Iterator[Line]:
    """Wrong engines: each fault, on the world's captions with a little noise."""
    for fault in get_args(FaultName):
        for share in SHARES[fault]:
            outcomes = []
            for number in range(runs):
                pictures = draw_pictures(WRONG_SEED + number, count)
                engine = Pretended(pictures, noise=0.05, seed=number)
                broken = Broken(engine, fault, share, number)
                outcomes.append(run_probes(broken, pictures, VARIANTS[1 + number % 3]))
            yield Line(f"{SAID[fault]}: {share:.0%} of requests", tuple(outcomes))


def nano_runs(runs: int) -> Iterator[Line]:
    """The nano captioner, right and wrong."""
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
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--right", type=int, default=100, help="runs of right engines")
    asked.add_argument("--wrong", type=int, default=20, help="runs of each fault")
    asked.add_argument("--nano", type=int, default=0, help="runs of the nano captioner, of each")
    asked.add_argument("--quick", action="store_true", help="a fifth of the runs")
    args = asked.parse_args()
    part = 5 if args.quick else 1
    start = time.perf_counter()
    print("| engine | runs | stopped | warned | probes that said the same alone |")
    print("|---|---|---|---|---|")
    for line in right_runs(args.right // part):
        print(line.text(), flush=True)
    for line in wrong_runs(args.wrong // part, PICTURES):
        print(line.text(), flush=True)
    for line in nano_runs(args.nano) if args.nano else ():
        print(line.text(), flush=True)
    print(f"\n{PICTURES} pictures a run; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
