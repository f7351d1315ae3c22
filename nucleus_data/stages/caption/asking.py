"""Builds the questions about a row, and the table rows from the answers."""

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

# Values of a caption's `source`, indexed by whether upstream text was part of the question.
ORIGINS = ("synthesized", "refined")
# Minimal temperature and presence penalty of a retry, per attempt, and their caps: a greedy variant
# would only repeat its answer. Changing these values requires a new VERSION of the tables.
WARMER, WARMEST = 0.3, 1.0
UNWILLING, MOST_UNWILLING = 0.5, 1.5


class Asking:
    """Builds questions about rows, and table rows from the answers.

    Args:
        settings: The stage's settings.
        count_tokens: Counts a text's tokens, as the engine does.
    """

    def __init__(self, settings: CaptionSettings, count_tokens: Callable[[str], int]) -> None:
        self.settings = settings
        self._count_tokens = count_tokens
        self._seen: tuple[Said, Verdict] | None = None

    def roots(self, wanted: Collection[str]) -> list[str]:
        """Returns the variants to ask first: those whose parent is not wanted, too.

        Args:
            wanted: Names of the variants that a record lacks.
        """
        return sorted(name for name in wanted if self.settings.parent(name) not in wanted)

    def children(self, name: str, wanted: Collection[str]) -> list[str]:
        """Returns the wanted variants that are made from the caption of variant `name`."""
        return sorted(child for child in wanted if self.settings.parent(child) == name)

    def ask(self, row: Row, name: str, attempt: int, made: Mapping[str, str]) -> Ask:
        """Builds one question about a row.

        Args:
            row: The record.
            name: The variant.
            attempt: Number of the attempt, from 0.
            made: Captions of this row made in this run, by variant; those of earlier runs are in
                the row's columns.

        Raises:
            AskError: The question can't be asked: an upstream value is unusable, or the parent has
                no caption.
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
        """Returns an answer together with its question, as the checks take it."""
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
            # As they are stored: a number is compared otherwise than a text with numbers.
            facts={
                column: row.columns[f"records:{SOURCE}{column}"]
                for column in variant.facts
                if values[f"{SOURCE}{column}"] is not None
            },
            words=variant.words,
            language=self.settings.language,
            schema=ask.schema,
            system=ask.system,
        )

    def fault(self, said: Said) -> Fault | None:
        """Returns why an answer must be asked for again; None if it may be a caption.

        The checks' verdict is cached until the next answer, since they take a millisecond.
        """
        self._seen = said, examine(said, self.settings.checks)
        return self._seen[1].fault

    def provenance(
        self,
        row: Row,
        name: str,
        attempt: int,
        ask: Ask,
        generated: Generated,
        engine: Engine,
        picture_sha: str,
    ) -> dict[str, Any]:
        """Returns the columns of a caption's table row, except the text.

        Those about the answer are missing if the request failed.
        """
        variant, sampling = self.settings.variants[name], ask.sampling
        checked = {}
        if not generated.error:
            verdict = self._verdict(self.said(row, name, ask, generated))
            applying = self.settings.checks_of(name)
            checked = {
                "finish_reason": generated.finish_reason,
                "tokens": generated.tokens,
                "prompt_tokens": generated.prompt_tokens,
                "checks": [passed for passed in verdict.passed if passed in applying],
                "flags": [fault.check for fault in verdict.flags],
            }
        refined = self._refined(row, name)
        return {
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
            **checked,
        }

    @cached_property
    def _model(self) -> ModelReference:
        return resolve_model(self.settings.model, self.settings.revision)

    def _verdict(self, said: Said) -> Verdict:
        """Returns the checks' verdict on an answer, cached if it was the last one."""
        if self._seen is None or self._seen[0] != said:
            self.fault(said)
        assert self._seen is not None
        return self._seen[1]

    def _upstream(
        self, row: Row, variant: Variant, most: int | None = None
    ) -> dict[str, str | None]:
        """Returns the upstream values for a variant's placeholders, by placeholder.

        Args:
            row: The record.
            variant: The variant.
            most: Maximum number of tokens of a value; None if that was checked before.

        Raises:
            AskError: A value is not text, or too long.
        """
        values: dict[str, str | None] = {}
        for place in places(variant.template):
            if place == MADE:
                continue
            column = place.removeprefix(SOURCE)
            value = row.columns.get(f"records:{SOURCE}{column}")
            values[place] = upstream_text(value, column, self._count_tokens, most)
        return values

    def _refined(self, row: Row, name: str) -> bool:
        """Whether upstream text is part of a variant's question, or of that of an ancestor."""
        variants = [self.settings.variants[ancestor] for ancestor in self.settings.chain(name)]
        values = [value for variant in variants for value in self._upstream(row, variant).values()]
        return any(value is not None for value in values)

    def _made(self, row: Row, parent: str, made: Mapping[str, str]) -> str:
        """Returns the parent's caption of a row. Raises AskError if there is none."""
        if text := made.get(parent) or row.columns.get(f"caption.{parent}:caption"):
            return str(text)
        # Without a permanent failure, the parent may still get a caption.
        error = row.columns.get(f"caption.{parent}:error")
        detail = f"caption.{parent}: {error or 'no caption of this picture yet'}"
        raise AskError("parent_failed", detail, retryable=error is None)

    def _sampling(self, row: Row, name: str, attempt: int) -> Sampling:
        """Returns the sampling of an attempt: the first as configured, further ones warmer."""
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
        """Returns a 63-bit seed, a hash of `caption.seed`, record, variant and attempt.

        If a variant's first attempt is greedy, `caption.seed` is left out, as it is from the
        table's config hash.
        """
        seed = self.settings.seed if self.settings.variants[name].drawn else 0
        key = f"{row.id}/{attempt}" if attempt else row.id
        return keyed_uint64(f"caption.{name}", seed, key) >> 1


def _given(values: Mapping[str, str | None]) -> dict[str, str]:
    """Returns the placeholders that have a value."""
    return {place: value for place, value in values.items() if value is not None}
