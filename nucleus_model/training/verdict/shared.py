"""Reuses runs of arm A from an earlier comparison in which its training was identical.

A sweep compares one set with several. The set's run of a seed depends on the other set only through
the joint order: if the unions of pictures are the same, so is the training, and its files can be
copied. The evaluated pictures may differ, so losses are measured again.
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
    """Returns a loop that reuses runs of arm A from earlier comparisons, and executes the others.

    Args:
        loop: Executes what is left of the runs.
        earlier: Folders of comparisons with the same arm A.
    """
    return partial(_shared, loop, earlier)


def _shared(loop: Loop, earlier: Sequence[Path], specs: Sequence[RunSpec]) -> Iterator[RunSpec]:
    own = [spec for spec in specs if spec.arm == ARM and not spec.folder.exists()]
    if own:
        planned = read_plan(Path(own[0].out))
        known = [(folder, read_plan(folder)) for folder in earlier]
        for spec in own:
            for folder, other in known:
                run = RunSpec(str(folder), ARM, spec.replicate)
                if run.done and same_training(planned, other, spec.replicate):
                    _copy(run.folder, spec.folder)
                    break
    yield from loop(specs)


def same_training(one: Planned, other: Planned, replicate: int) -> bool:
    """Whether arm A's training in a replicate is identical in two comparisons."""
    return _trains(one, replicate) == _trains(other, replicate)


def _trains(planned: Planned, replicate: int) -> str:
    """Hashes everything that arm A's training depends on."""
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
    """Copies a run without its losses, atomically."""
    part = target.with_name(f".{target.name}")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(source, part, ignore=shutil.ignore_patterns(LOSSES, ".*"))
    part.rename(target)
