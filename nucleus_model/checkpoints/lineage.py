"""Decides whether checkpoints belong to the same run: one with equal settings and data.

Only settings that affect what a run learns are compared. A run can be extended, by more steps in
its last phase or by further phases; its earlier checkpoints still belong to it. Settings that were
added after a checkpoint was written have their default there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from nucleus_data.config import deciding
from nucleus_model.settings.phases import Phase
from nucleus_model.settings.settings import QuickTrainSettings

# Prefix of the hash of a training set that has its captions beside its tars (`data.loader`).
SETS = "sets-2:"
# Settings of a phase that are not compared: they do not affect the result, or may grow.
FREE = {"micro_batch", "steps"}


def stored_settings(content: Mapping[str, Any], where: str) -> QuickTrainSettings:
    """Reads the settings that were stored with a run.

    Args:
        content: JSON of a `QuickTrainSettings`, possibly of an earlier version.
        where: The checkpoint, for the error message.

    Raises:
        ValueError: This version does not know a setting, or rejects a value.
    """
    try:
        return QuickTrainSettings.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        )
        raise ValueError(
            f"{where} has settings that this version can't read ({problems}); use the version that "
            "wrote it"
        ) from None


def differences(
    before: QuickTrainSettings, now: QuickTrainSettings, word: str = "now"
) -> list[str]:
    """Lists the settings that prevent a run from continuing with other settings.

    Args:
        before: The run's settings.
        now: The settings to continue with.
        word: A word for `now` in the texts.

    Returns:
        A text for each setting that differs, with both values; empty if `now` is equal to `before`
        or extends it.
    """
    old, new = (deciding(settings, ("steps", "phases")) for settings in (before, now))
    odd = [
        _odd(name, getattr(before, name), getattr(now, name), word)
        for name in QuickTrainSettings.model_fields
        if old.get(name) != new.get(name)
    ]
    phases_before, phases_now = before.plan(), now.plan()
    if len(phases_now) < len(phases_before):
        odd.append(_odd("phases", len(phases_before), len(phases_now), word))
    several = len(phases_before) > 1
    for number, (earlier, later) in enumerate(zip(phases_before, phases_now, strict=False)):
        names = [name for name in Phase.model_fields if name not in FREE]
        odd += [
            _odd(f"{name} of phase {number}", getattr(earlier, name), getattr(later, name), word)
            for name in names
            # A setting that phases inherit has been listed above.
            if getattr(earlier, name) != getattr(later, name) and old.get(name) == new.get(name)
        ]
        last = number == len(phases_before) - 1
        if later.steps < earlier.steps or (not last and later.steps != earlier.steps):
            name = f"steps of phase {number}" if several else "steps"
            odd.append(_odd(name, earlier.steps, later.steps, word))
    return odd


def same_data(before: Sequence[str], now: Sequence[str]) -> bool:
    """Returns whether the phases of a run were trained on the same data as those of another.

    Args:
        before: Hashes of the run's samples, by phase.
        now: Hashes of the other run's samples, which may have further phases.
    """
    return list(before) == list(now)[: len(before)]


def _odd(name: str, before: Any, now: Any, word: str) -> str:
    return f"{name} ({before!r}, {word} {now!r})"
