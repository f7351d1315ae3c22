"""Fits the weights of the stage `compare`: what of a pair says which copy is the better one.

    python -m scripts.fit_copies --pictures wallpapers --pictures stamps --terms pairs.npz
    python -m scripts.fit_copies --terms pairs.npz --out nucleus_data/stages/compare/model.json

Pairs are made of originals of even numbers (`scripts/copies/training.py`), damaged by amounts that
are drawn (`scripts/copies/drawn.py`); `scripts/bench_copies.py` counts those of odd numbers, with
the amounts of its own. Says what a fit on three quarters of the originals gets right of the others.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Before numpy: more threads would only get in each other's way.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from scripts.copies.comparing import known_of, pair_terms
from scripts.copies.drawn import SMALLER, drawn
from scripts.copies.measuring import SIGNALS
from scripts.copies.training import Lesson, lessons
from scripts.rules.measuring import Row, file_row, spread

HIDDEN, DECAY, EPOCHS, BATCH, RATE, NOISE = 24, 0.02, 40, 64, 3e-3, 0.1
NETS = 4  # whose mean is taken
WEIGHT_SMALLER = 4.0  # a pair that differs by size alone counts so much
FOLDS = 4
CLIPPED = 3.0


def learned(lesson: Lesson) -> list[Row]:
    """The terms of an original with each of its copies."""
    data = lesson.file()
    copies = drawn(lesson.picture(), lesson.seed)
    files = [data, *(copy for _, copy in copies)]
    known = known_of([file_row(SIGNALS, "", "", each, "") for each in files])
    name = f"{lesson.original.group}/{lesson.original.number}/{lesson.original.path}"
    return [
        {"original": name, "kind": kind, "terms": pair_terms(data, copy, known[0], its)}
        for (kind, copy), its in zip(copies, known[1:], strict=True)
    ]


class Odd(torch.nn.Module):
    """A network whose answer changes its sign with the order of the pair."""

    def __init__(self, sign: np.ndarray) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(len(sign), HIDDEN)
        self.outer = torch.nn.Linear(HIDDEN, 1, bias=False)
        self.straight = torch.nn.Linear(len(sign), 1, bias=False)
        self.register_buffer("sign", torch.tensor(sign, dtype=torch.float32))

    def half(self, values: torch.Tensor) -> torch.Tensor:
        """What one order says."""
        return self.outer(torch.tanh(self.inner(values))) + self.straight(values)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """The score of each pair."""
        return (self.half(values) - self.half(values * self.sign))[:, 0]


def scales(values: np.ndarray, sign: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle and the spread of each term; what changes its sign has its middle at 0."""
    both = sign > 0
    middle = np.where(both, values.mean(axis=0), 0.0)
    return middle, np.sqrt(((values - middle) ** 2).mean(axis=0)) + 1e-6


def fitted(values: np.ndarray, weights: np.ndarray, sign: np.ndarray, seed: int = 0) -> Odd:
    """Fits a network on scaled terms of pairs of which the first one is the better."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    net = Odd(sign)
    x, w = torch.tensor(values, dtype=torch.float32), torch.tensor(weights, dtype=torch.float32)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            out = net(x[batch] + NOISE * torch.randn_like(x[batch]))
            loss = (torch.nn.functional.softplus(-out) * w[batch]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net


def nets(values: np.ndarray, weights: np.ndarray, sign: np.ndarray) -> list[Odd]:
    """Some networks that differ by chance."""
    return [fitted(values, weights, sign, seed) for seed in range(NETS)]


def held_out(
    values: np.ndarray, kinds: np.ndarray, names: np.ndarray, weights: np.ndarray, sign: np.ndarray
) -> np.ndarray:
    """The score of each pair by a fit on other originals."""
    originals = np.random.default_rng(0).permutation(np.unique(names))
    fold = np.array([{n: i % FOLDS for i, n in enumerate(originals)}[name] for name in names])
    found = np.zeros(len(values))
    for number in range(FOLDS):
        mine = fold != number
        middle, width = scales(values[mine], sign)
        scaled = np.clip((values - middle) / width, -CLIPPED, CLIPPED)
        asked = torch.tensor(scaled[~mine], dtype=torch.float32)
        for net in nets(scaled[mine], weights[mine], sign):
            with torch.no_grad():
                found[~mine] += net(asked).numpy() / NETS
    return found


def model_of(values: np.ndarray, names: list[str], weights: np.ndarray, sign: np.ndarray) -> Any:
    """The weights as they are stored."""
    middle, width = scales(values, sign)
    found = nets(np.clip((values - middle) / width, -CLIPPED, CLIPPED), weights, sign)
    parts = [{k: v.numpy() for k, v in net.state_dict().items()} for net in found]
    # The mean of some networks is one network, which has all their hidden units.
    arrays = {
        "middle": middle,
        "spread": width,
        "inner": np.concatenate([part["inner.weight"] for part in parts]),
        "bias": np.concatenate([part["inner.bias"] for part in parts]),
        "outer": np.concatenate([part["outer.weight"][0] for part in parts]) / NETS,
        "straight": np.mean([part["straight.weight"][0] for part in parts], axis=0),
    }
    rounded = {k: np.round(v.astype(np.float64), 4).tolist() for k, v in arrays.items()}
    return {"names": names, **rounded}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("--pictures", type=Path, action="append", help="as of the bench")
    command.add_argument("--more", type=Path, action="append", help="what the bench has not")
    command.add_argument("--real", type=int, default=100, help="as of the bench")
    command.add_argument("--workers", type=int, default=2)
    command.add_argument("--lessons", type=int, help="originals at most")
    command.add_argument("--terms", type=Path, required=True, help="pairs, made or read")
    command.add_argument("--out", type=Path, help="the weights' file")
    options = command.parse_args(arguments)
    if options.pictures:
        work = list(lessons(options.pictures, options.more or [], options.real))
        rows = list(spread(learned, work[: options.lessons], options.workers))
        names = list(rows[0]["terms"])
        np.savez_compressed(
            options.terms,
            terms=np.array([[row["terms"][name] for name in names] for row in rows]),
            names=names,
            kinds=[row["kind"] for row in rows],
            originals=[row["original"] for row in rows],
        )
    with np.load(options.terms) as made:
        values, names = made["terms"], made["names"].tolist()
        kinds, originals = made["kinds"], made["originals"]
    sign = np.array([1.0 if name.startswith("both_") else -1.0 for name in names])
    weights = np.where(kinds == SMALLER, WEIGHT_SMALLER, 1.0)
    score = held_out(values, kinds, originals, weights, sign)
    for kind in np.unique(kinds):
        right = score[kinds == kind] > 0
        print(f"{kind:<24} {right.mean():.3f} of {len(right)}")
    print(f"all: {(score > 0).mean():.3f} of {len(score)}, {len(np.unique(originals))} originals")
    if options.out:
        model = model_of(values, names, weights, sign)
        options.out.write_text(json.dumps(model, separators=(",", ":")) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
