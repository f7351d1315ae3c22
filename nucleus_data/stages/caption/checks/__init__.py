"""Checks of a captioner's answers: one `Check` per module, discovered in this package.

    checks = Checks(language={"action": "flag"})
    check_caption(Said("I'm sorry, but I can't help with that."), checks)
    # Fault(check="refusal", detail="I'm sorry, but I can't help")

An answer with a `Fault` is asked for again; if no attempt is left, the check's name is the
failure's reason. Checks with the action `flag` keep the caption; `examine` reports these, too.
Checks are pure functions of the answer and of what was asked (`Said`). Checks on stored embeddings
are SQL, in `on_tables`.
"""

import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from nucleus_data.config import ADDED
from nucleus_data.stages.caption.checks.check import Action, Check, Fault, Said

__all__ = ["Action", "Check", "Checks", "Fault", "Said", "Verdict", "check_caption", "examine"]


def _found() -> tuple[type[Check], ...]:
    """Returns the check classes of this package's modules, in the order in which they run."""
    kinds = []
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            defined_here = isinstance(value, type) and value.__module__ == module.name
            if defined_here and issubclass(value, Check) and not inspect.isabstract(value):
                kinds.append(value)
    return tuple(sorted(kinds, key=lambda check: (check.rank, check.name)))


KINDS = _found()


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _section(kind: type[Check]) -> tuple[Any, Any]:
    """Returns the settings field of a check; its help is the first line of the docstring."""
    help_ = (inspect.getdoc(kind) or "").split("\n")[0]
    mark = ADDED if kind.added else None
    return kind, Field(default_factory=kind, description=help_, json_schema_extra=mark)


_sections: dict[str, Any] = {kind.name: _section(kind) for kind in KINDS}
_settings: Any = create_model("_settings", __base__=_Closed, **_sections)


class Checks(_settings):
    """Settings of all checks, one section per check."""

    @cached_property
    def on(self) -> tuple[Check, ...]:
        """The checks that are on, in the order in which they run."""
        every = (getattr(self, kind.name) for kind in KINDS)
        return tuple(check for check in every if check.action != "off")

    def ready(self, language: str | None = None) -> None:
        """Checks once, before any work, that all checks can run here. Raises RequestError.

        Args:
            language: The expected language of captions, if any.
        """
        for check in self.on:
            check.ready(language)


@dataclass(frozen=True)
class Verdict:
    """The result of all checks on one answer.

    Attributes:
        fault: The first finding of a check that asks again; None if the answer may be a caption.
        flags: Findings of checks that only flag.
        passed: Names of the checks that ran and found nothing, in order.
    """

    fault: Fault | None
    flags: tuple[Fault, ...]
    passed: tuple[str, ...]


def check_caption(said: Said, checks: Checks) -> Fault | None:
    """Returns why an answer must be asked for again; None if it may be a caption."""
    for check in checks.on:
        if check.action == "ask_again" and (detail := check.find(said)) is not None:
            return Fault(check.name, detail)
    return None


def examine(said: Said, checks: Checks) -> Verdict:
    """Runs all checks on an answer."""
    results = [(check, check.find(said)) for check in checks.on]
    faults = [(c.action, Fault(c.name, detail)) for c, detail in results if detail is not None]
    return Verdict(
        fault=next((fault for action, fault in faults if action == "ask_again"), None),
        flags=tuple(fault for action, fault in faults if action == "flag"),
        passed=tuple(check.name for check, detail in results if detail is None),
    )
