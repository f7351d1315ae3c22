"""Whether checkpoints are of one run: the settings and the data that decide what it learns.

A run may be extended: its last phase gets more steps, or further phases follow. What was trained
before that is the same run's. Settings that a checkpoint lacks, as they came after it was written,
have their default there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from nucleus_data.config import deciding
from nucleus_model.settings.phases import Phase
from nucleus_model.settings.settings import QuickTrainSettings

# Before the hash of a training set whose captions lie beside its tars (`data.loader`).
SETS = "sets-2:"
# Of a phase: how the work is done, and what may grow.
FREE = {"micro_batch", "steps"}


def stored_settings(content: Mapping[str, Any], where: str) -> QuickTrainSettings:
    """Reads the settings that were stored with a run.

    Args:
        content: JSON of a `QuickTrainSettings`, perhaps of an earlier version.
        where: The checkpoint, for the error.

    Raises:
        ValueError: This version does not know a setting, or refuses a value.
    """
    try:
        return QuickTrainSettings.model_validate(content)
    except ValidationError as error:
        found = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        )
        raise ValueError(
            f"{where} has settings that this version can't read ({found}); use the version that "
            "wrote it"
        ) from None


def differences(
    before: QuickTrainSettings, now: QuickTrainSettings, word: str = "now"
) -> list[str]:
    """What keeps a run from going on as another one, as its extension too.

    Args:
        before: Of the run.
        now: Of the one that it would be.
        word: What the latter is called.

    Returns:
        Each setting that is another one, with both values; none if the one is the other's start.
    """
    old, new = (deciding(settings, ("steps", "phases")) for settings in (before, now))
    odd = [
        _odd(name, getattr(before, name), getattr(now, name), word)
        for name in QuickTrainSettings.model_fields
        if old.get(name) != new.get(name)
    ]
    ours, theirs = before.plan(), now.plan()
    if len(theirs) < len(ours):
        odd.append(_odd("phases", len(ours), len(theirs), word))
    several = len(ours) > 1
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        names = [name for name in Phase.model_fields if name not in FREE]
        odd += [
            _odd(f"{name} of phase {number}", getattr(one, name), getattr(other, name), word)
            for name in names
            # A setting beside the phases is told once, above.
            if getattr(one, name) != getattr(other, name) and old.get(name) == new.get(name)
        ]
        last = number == len(ours) - 1
        if other.steps < one.steps or (not last and other.steps != one.steps):
            name = f"steps of phase {number}" if several else "steps"
            odd.append(_odd(name, one.steps, other.steps, word))
    return odd


def same_data(before: Sequence[str], now: Sequence[str]) -> bool:
    """Whether the phases that a run had trained on what those of another do.

    Args:
        before: Hashes of the samples, by phase.
        now: Those of the other run, which may have more phases.
    """
    return list(before) == list(now)[: len(before)]


def _odd(name: str, before: Any, now: Any, word: str) -> str:
    return f"{name} ({before!r}, {word} {now!r})"
