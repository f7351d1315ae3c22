"""Records an engine's requests and answers, attempt by attempt, for the page of `--try`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nucleus_data.engines.captioner import Ask, Engine, Generated, Pixels, Prepared
from nucleus_data.stage import Row
from nucleus_data.stages.caption.asking import Asking
from nucleus_data.stages.caption.checks import examine


@dataclass(frozen=True)
class Attempt:
    """One question and its answer.

    Attributes:
        number: Number of the attempt, from 0.
        question: The full text that was asked.
        sees_picture: Whether the model saw the picture.
        text: The answer.
        finish_reason: `stop`, or `length` if it was cut off.
        tokens: Tokens of the answer.
        read: Tokens of picture and question.
        fault: The check that rejected it, or the engine's reason; empty if it became the caption.
        detail: What was found.
        passed: Checks that found nothing.
        flags: Checks that flagged it.
    """

    number: int
    question: str
    sees_picture: bool
    text: str
    finish_reason: str
    tokens: int
    read: int
    fault: str
    detail: str
    passed: Sequence[str]
    flags: Sequence[str]


class Recorder:
    """An engine that wraps another one, and records its requests and answers.

    Args:
        engine: The wrapped engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.version, self.on_cpu = engine.name, engine.version, engine.on_cpu
        self._asked: dict[str, Ask] = {}
        self._said: dict[str, Generated] = {}

    def prepare(self, picture: Pixels | None, asks: Sequence[Ask]) -> Prepared:
        """Records the requests, and prepares them with the wrapped engine."""
        self._asked |= {ask.key: ask for ask in asks}
        prepared = self._engine.prepare(picture, asks)
        self._said |= {made.key: made for made in prepared.failed}
        return prepared

    def submit(self, prepared: Prepared) -> None:
        """Submits to the wrapped engine."""
        self._engine.submit(prepared)

    def step(self) -> list[Generated]:
        """Steps the wrapped engine, and records its answers."""
        made = self._engine.step()
        self._said |= {answer.key: answer for answer in made}
        return made

    @property
    def patience_s(self) -> float | None:
        """The wrapped engine's patience."""
        return self._engine.patience_s

    @patience_s.setter
    def patience_s(self, seconds: float | None) -> None:
        self._engine.patience_s = seconds

    def pending(self) -> int:
        """Returns the wrapped engine's number of pending requests."""
        return self._engine.pending()

    def count_tokens(self, text: str) -> int:
        """Counts tokens with the wrapped engine."""
        return self._engine.count_tokens(text)

    def counts(self) -> Mapping[str, int]:
        """Returns the wrapped engine's counts."""
        return self._engine.counts()

    def __getattr__(self, name: str) -> Any:
        """Gives access to further attributes, which only some engines have."""
        return getattr(self._engine, name)

    def attempts(self, row: Row, name: str, asking: Asking) -> list[Attempt]:
        """Returns the recorded attempts at one variant of a row, in order."""
        attempts_made, number = [], 0
        while (ask := self._asked.get(f"{row.shard}/{row.row}/{name}/{number}")) is not None:
            made = self._said.get(ask.key, Generated(ask.key, error="no answer"))
            fault, detail = made.reason, made.error
            passed: tuple[str, ...] = ()
            flags: tuple[str, ...] = ()
            if not made.error:
                verdict = examine(asking.said(row, name, ask, made), asking.settings.checks)
                applying = asking.settings.checks_of(name)
                passed = tuple(check for check in verdict.passed if check in applying)
                flags = tuple(flag.check for flag in verdict.flags)
                fault = verdict.fault.check if verdict.fault else ""
                detail = verdict.fault.detail if verdict.fault else ""
            attempts_made.append(
                Attempt(
                    number,
                    ask.question,
                    ask.sees_picture,
                    made.text,
                    made.finish_reason,
                    made.tokens,
                    made.prompt_tokens,
                    fault,
                    detail,
                    passed,
                    flags,
                )
            )
            number += 1
        return attempts_made
