"""Checks of what a captioner said: each is one module with one `Check`, found by being here.

    checks = Checks(language={"action": "flag"})
    check_caption(Said("I'm sorry, but I can't help with that."), checks)
    # Fault(check="refusal", detail="I'm sorry, but I can't help")

An answer with a `Fault` is asked again, and ends as that reason when no attempt is left. Checks
whose action is `flag` keep the caption; `examine` tells them all. They are pure functions of the
answer and of what was asked (`Said`). Those that need stored vectors are SQL, in `on_tables`.
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
    """The checks of this package's modules, in their order."""
    found = []
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            mine = isinstance(value, type) and value.__module__ == module.name
            if mine and issubclass(value, Check) and value is not Check:
                found.append(value)
    return tuple(sorted(found, key=lambda check: (check.rank, check.name)))


KINDS = _found()


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _section(kind: type[Check]) -> tuple[Any, Any]:
    """The field of a check's settings, with the first line of its docstring as help."""
    help_ = (inspect.getdoc(kind) or "").split("\n")[0]
    mark = ADDED if kind.added else None
    return kind, Field(default_factory=kind, description=help_, json_schema_extra=mark)


_sections: dict[str, Any] = {kind.name: _section(kind) for kind in KINDS}
_settings: Any = create_model("_settings", __base__=_Closed, **_sections)


class Checks(_settings):
    """What is checked of each caption, and what follows; a section for each check."""

    def each(self) -> tuple[Check, ...]:
        """Those that are on, in their order."""
        return self.on

    @cached_property
    def on(self) -> tuple[Check, ...]:
        """The same, found once."""
        every = (getattr(self, kind.name) for kind in KINDS)
        return tuple(check for check in every if check.action != "off")

    def ready(self, language: str | None = None) -> None:
        """Raises RequestError if one can't work here: asked once, before anything starts.

        Args:
            language: The language that captions must have, if one is wanted.
        """
        for check in self.each():
            check.ready(language)


@dataclass(frozen=True)
class Verdict:
    """What all checks say of one answer.

    Attributes:
        fault: The first one for which it is asked again; None if it may be a caption.
        flags: Those for which it is marked.
        passed: Names of the checks that were on and found nothing, in their order.
    """

    fault: Fault | None
    flags: tuple[Fault, ...]
    passed: tuple[str, ...]


def check_caption(said: Said, checks: Checks) -> Fault | None:
    """Why an answer is asked again; None if it may be a caption."""
    for check in checks.each():
        if check.action == "ask_again" and (detail := check.find(said)) is not None:
            return Fault(check.name, detail)
    return None


def examine(said: Said, checks: Checks) -> Verdict:
    """What all checks say of an answer."""
    found = [(check, check.find(said)) for check in checks.each()]
    faults = [(c.action, Fault(c.name, detail)) for c, detail in found if detail is not None]
    return Verdict(
        fault=next((fault for action, fault in faults if action == "ask_again"), None),
        flags=tuple(fault for action, fault in faults if action == "flag"),
        passed=tuple(check.name for check, detail in found if detail is None),
    )
