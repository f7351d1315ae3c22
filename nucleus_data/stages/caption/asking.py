"""What is asked about a row, and what is kept of the answer: pure functions of row and settings."""

from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from typing import Any

from nucleus_data.engines.captioner import Ask, Engine, Generated, Sampling
from nucleus_data.engines.find import ModelReference, resolve_model
from nucleus_data.hashing import config_hash, keyed_uint64
from nucleus_data.stage import Row
from nucleus_data.stages.caption.checks import Fault, Said, Verdict, examine
from nucleus_data.stages.caption.failures import AskError
from nucleus_data.stages.caption.places import CAPTION, MADE, SOURCE, filled, places
from nucleus_data.stages.caption.prompts import NOTHING
from nucleus_data.stages.caption.settings import CaptionSettings
from nucleus_data.stages.caption.upstream import upstream_text
from nucleus_data.stages.caption.variant import Variant

# A caption's `source`: made of the picture alone, or of what the record came with too.
ORIGINS = ("synthesized", "refined")
# An attempt after the first is drawn at least so warm, and repeats at least so unwillingly, times
# its number: a greedy variant would give the same answer again. Another rule is another version of
# the tables.
WARMER, WARMEST = 0.3, 1.0
UNWILLING, MOST_UNWILLING = 0.5, 1.5


class Asking:
    """Questions about rows, and the tables' rows that answers make.

    Args:
        settings: The stage's.
        count_tokens: The engine's.
    """

    def __init__(self, settings: CaptionSettings, count_tokens: Callable[[str], int]) -> None:
        self.settings = settings
        self._count_tokens = count_tokens
        self._seen: tuple[Said, Verdict] | None = None

    def roots(self, row: Row, wanted: Collection[str]) -> list[str]:
        """The variants to ask first: those that wait for no other wanted one.

        Args:
            row: The record.
            wanted: Names of the variants that it lacks.
        """
        return sorted(name for name in wanted if self.settings.parent(name) not in wanted)

    def children(self, name: str, wanted: Collection[str]) -> list[str]:
        """The wanted variants that are made from a variant."""
        return sorted(each for each in wanted if self.settings.parent(each) == name)

    def ask(self, row: Row, name: str, attempt: int, made: Mapping[str, str]) -> Ask:
        """One question about a row.

        Args:
            row: The record.
            name: The variant.
            attempt: 0 for the first.
            made: Captions of this row that were made by now; those of other runs are in its
                columns.

        Raises:
            AskError: It can't be asked: the record's own texts, or the variant's parent, forbid it.
        """
        variant = self.settings.variants[name]
        values = self._upstream(row, variant, self.settings.max_upstream_tokens)
        if variant.chained:
            values[MADE] = self._made(row, variant.parent, made)
        return Ask(
            key=f"{row.shard}/{row.row}/{name}/{attempt}",
            question=filled(variant.template, {CAPTION: NOTHING} | _given(values)),
            sampling=self._sampling(row, name, attempt),
            system=variant.system or self.settings.system,
            schema=variant.schema_text,
            sees_picture=variant.sees_picture,
        )

    def said(self, row: Row, name: str, ask: Ask, generated: Generated) -> Said:
        """What the checks see of an answer."""
        variant = self.settings.variants[name]
        values = self._upstream(row, variant)
        upstream = values.pop(CAPTION, None)
        return Said(
            text=generated.text,
            finish_reason=generated.finish_reason,
            at_stop=generated.at_stop,
            tokens=generated.tokens,
            max_tokens=ask.sampling.max_tokens,
            question=ask.question,
            template=variant.template,
            upstream=upstream,
            facts={place.removeprefix(SOURCE): value for place, value in _given(values).items()},
            words=variant.words,
            language=self.settings.language,
            schema=ask.schema,
            system=ask.system,
        )

    def fault(self, said: Said) -> Fault | None:
        """Why an answer is asked again; None if it may be a caption.

        What the checks say is kept until the next answer: to look takes a millisecond.
        """
        self._seen = said, examine(said, self.settings.checks)
        return self._seen[1].fault

    def values(
        self,
        row: Row,
        name: str,
        attempt: int,
        ask: Ask,
        generated: Generated,
        engine: Engine,
        picture_sha: str,
    ) -> dict[str, Any]:
        """A caption's row: the text, and all that is needed to trace it."""
        variant, sampling = self.settings.variants[name], ask.sampling
        verdict = self._verdict(self.said(row, name, ask, generated))
        applying = self.settings.checks_of(name)
        refined = self._refined(row, name)
        return {
            "caption": generated.text,
            "source": ORIGINS[refined],
            "parent": variant.parent if variant.chained else "source" if refined else None,
            "model": self._model.name,
            "revision": self._model.revision,
            "prompt": variant.prompt_name,
            "prompt_hash": config_hash(variant.template),
            "question": ask.question,
            "system": ask.system,
            "schema": ask.schema,
            "max_tokens": sampling.max_tokens,
            "min_tokens": sampling.min_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "presence_penalty": sampling.presence_penalty,
            "repetition_penalty": sampling.repetition_penalty,
            "stop": list(sampling.stop),
            "seed": sampling.seed if sampling.temperature > 0 else None,
            "attempt": attempt,
            "attempts": attempt + 1,
            "engine": engine.name,
            "engine_version": engine.version,
            "image_sha256": picture_sha if ask.sees_picture else None,
            "finish_reason": generated.finish_reason,
            "tokens": generated.tokens,
            "prompt_tokens": generated.prompt_tokens,
            "checks": [passed for passed in verdict.passed if passed in applying],
            "flags": [fault.check for fault in verdict.flags],
        }

    @cached_property
    def _model(self) -> ModelReference:
        return resolve_model(self.settings.model, self.settings.revision)

    def _verdict(self, said: Said) -> Verdict:
        """What the checks say of an answer."""
        if self._seen is None or self._seen[0] != said:
            self.fault(said)
        assert self._seen is not None
        return self._seen[1]

    def _upstream(
        self, row: Row, variant: Variant, most: int | None = None
    ) -> dict[str, str | None]:
        """What the record came with, by place.

        Args:
            row: The record.
            variant: What asks about it.
            most: Tokens that a value may have; None if that was looked at before.

        Raises:
            AskError: A value can't be asked about.
        """
        found: dict[str, str | None] = {}
        for place in places(variant.template):
            if place == MADE:
                continue
            column = place.removeprefix(SOURCE)
            value = row.columns.get(f"records:{SOURCE}{column}")
            found[place] = upstream_text(value, column, self._count_tokens, most)
        return found

    def _refined(self, row: Row, name: str) -> bool:
        """Whether something that the record came with is in what a caption is made from."""
        variants = [self.settings.variants[each] for each in self.settings.chain(name)]
        values = [value for each in variants for value in self._upstream(row, each).values()]
        return any(value is not None for value in values)

    def _made(self, row: Row, parent: str, made: Mapping[str, str]) -> str:
        """The parent's caption of a row. Raises AskError if there is none."""
        if text := made.get(parent) or row.columns.get(f"caption.{parent}:caption"):
            return str(text)
        # One without a final failure may have a caption later.
        error = row.columns.get(f"caption.{parent}:error")
        detail = f"caption.{parent}: {error or 'no caption of this picture yet'}"
        raise AskError("parent_failed", detail, retryable=error is None)

    def _sampling(self, row: Row, name: str, attempt: int) -> Sampling:
        """How an attempt is drawn: the first as the variant says, further ones warmer."""
        variant = self.settings.variants[name]
        temperature = max(variant.temperature, round(min(WARMER * attempt, WARMEST), 3))
        penalty = variant.presence_penalty
        if attempt and variant.schema_text is None:  # JSON repeats its brackets and quotes
            penalty = max(penalty, min(UNWILLING * attempt, MOST_UNWILLING))
        return Sampling(
            max_tokens=variant.max_tokens,
            temperature=temperature,
            top_p=variant.top_p,
            presence_penalty=penalty,
            repetition_penalty=variant.repetition_penalty,
            min_tokens=variant.min_tokens,
            stop=variant.stop,
            seed=self._seed(row, name, attempt) if temperature > 0 else 0,
        )

    def _seed(self, row: Row, name: str, attempt: int) -> int:
        """63 bits: a function of the settings' seed, the record, the variant and the attempt.

        Of a variant whose first attempt is greedy, the settings' seed is no part of it, nor of its
        table's config hash.
        """
        seed = self.settings.seed if self.settings.variants[name].drawn else 0
        key = f"{row.id}/{attempt}" if attempt else row.id
        return keyed_uint64(f"caption.{name}", seed, key) >> 1


def _given(values: Mapping[str, str | None]) -> dict[str, str]:
    """The places for which there is a value."""
    return {place: value for place, value in values.items() if value is not None}
