"""Runs of one arm taken over from an earlier comparison, where it trains on the very same.

A sweep compares one set with several. The set's run of a seed depends on the other set through the
joint order alone: where both unions are the same pictures, so is the training, and a copy of its
files is what a new training would leave. What it is measured on is another matter, so the losses
are measured anew.
"""

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from nucleus_data.hashing import config_hash
from nucleus_model.training.verdict.collect import REFERENCE
from nucleus_model.training.verdict.loops import Loop
from nucleus_model.training.verdict.plan import Planned
from nucleus_model.training.verdict.run import LOSSES, RunSpec, read_plan

ARM = "a"


def sharing(loop: Loop, earlier: Sequence[Path]) -> Loop:
    """A loop that takes over runs of arm A from earlier comparisons, and does the others.

    Args:
        loop: Does the runs, or what of them is left.
        earlier: Folders of comparisons with the same arm A.
    """
    return partial(_shared, loop, earlier)


def _shared(loop: Loop, earlier: Sequence[Path], specs: Sequence[RunSpec]) -> Iterator[RunSpec]:
    mine = [spec for spec in specs if spec.arm == ARM and not spec.folder.exists()]
    if mine:
        planned = read_plan(Path(mine[0].out))
        known = [(folder, read_plan(folder)) for folder in earlier]
        for spec in mine:
            for folder, other in known:
                there = RunSpec(str(folder), ARM, spec.replicate)
                if there.done and same_training(planned, other, spec.replicate):
                    _copy(there.folder, spec.folder)
                    break
    yield from loop(specs)


def same_training(one: Planned, other: Planned, replicate: int) -> bool:
    """Whether arm A's run of a replicate is the same in two comparisons."""
    return _trains(one, replicate) == _trains(other, replicate)


def _trains(planned: Planned, replicate: int) -> str:
    """Hashes what a run of arm A depends on, before it is measured."""
    rows = planned.pictures.filter(pc.field(REFERENCE))
    content: list[Any] = [
        planned.digests[ARM],
        planned.arms[ARM].edition,
        # The grid of samples shows captions of the reference.
        planned.settings.training(replicate).model_dump(mode="json"),
        rows.column("caption").to_pylist(),
        planned.order(replicate).digest(),
    ]
    return config_hash(content)


def _copy(source: Path, target: Path) -> None:
    """Copies a run without its losses; killed, it leaves no half of it under its name."""
    part = target.with_name(f".{target.name}")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(source, part, ignore=shutil.ignore_patterns(LOSSES, ".*"))
    part.rename(target)
