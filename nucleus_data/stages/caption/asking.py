"""What is asked about a row, and what is kept of the answer: pure functions of row and settings."""

from collections.abc import Callable, Mapping
from typing import Any

from nucleus_data.engines.captioner import Ask, Engine, Generated, Sampling
from nucleus_data.engines.find import resolve_model
from nucleus_data.hashing import keyed_uint64
from nucleus_data.stage import Row
from nucleus_data.stages.caption.checks import Said
from nucleus_data.stages.caption.failures import UpstreamError, check_upstream
from nucleus_data.stages.caption.prompts import question, visible
from nucleus_data.stages.caption.settings import CaptionSettings, Variant

CAPTION = "records:source.caption"
# A caption's `source`: made of the picture alone, or of the caption that it came with too.
ORIGINS = ("synthesized", "refined")
AskError = UpstreamError


class Asking:
    """Questions and values of a stage.

    Args:
        settings: The stage's.
        count_tokens: The engine's.
    """

    def __init__(self, settings: CaptionSettings, count_tokens: Callable[[str], int]) -> None:
        self.settings = settings
        self._count_tokens = count_tokens
        self._model = resolve_model(settings.model, settings.revision)

    def roots(self, row: Row, wanted: set[str]) -> list[str]:
        """The variants that are asked first."""
        return sorted(wanted)

    def children(self, name: str, wanted: set[str]) -> list[str]:
        """The variants that are asked once another one has its caption."""
        return []

    def ask(self, row: Row, name: str, attempt: int, made: Mapping[str, str]) -> Ask:
        """One question about a row. Raises AskError if it can't be asked."""
        variant = self.settings.variants[name]
        return Ask(
            key=f"{row.shard}/{row.row}/{name}/{attempt}",
            question=self._question(variant, row),
            system=self.settings.system,
            sampling=Sampling(
                max_tokens=variant.max_tokens,
                temperature=variant.temperature,
                top_p=variant.top_p,
                presence_penalty=variant.presence_penalty,
                seed=self._seed(row, name),
            ),
        )

    def said(self, row: Row, name: str, ask: Ask, generated: Generated) -> Said:
        """What the checks see of an answer."""
        return Said(
            text=generated.text,
            finish_reason=generated.finish_reason,
            tokens=generated.tokens,
            max_tokens=ask.sampling.max_tokens,
            question=ask.question,
            template=self.settings.variants[name].template,
        )

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
        variant = self.settings.variants[name]
        refined = variant.refines and visible(row.columns.get(CAPTION) or "")
        return {
            "caption": generated.text,
            "source": ORIGINS[bool(refined)],
            "parent": "source" if refined else None,
            "model": self._model.name,
            "revision": self._model.revision,
            "prompt": variant.prompt,
            "seed": ask.sampling.seed,
            "temperature": variant.temperature,
            "max_tokens": variant.max_tokens,
            "engine": engine.name,
            "engine_version": engine.version,
            "finish_reason": generated.finish_reason,
            "tokens": generated.tokens,
        }

    def _question(self, variant: Variant, row: Row) -> str:
        """What a variant asks about a row. Raises AskError if its caption can't be in it."""
        if not variant.refines:
            return variant.template
        most = self.settings.max_upstream_tokens
        upstream = check_upstream(row.columns.get(CAPTION), self._count_tokens, most)
        return question(variant.template, upstream)

    def _seed(self, row: Row, name: str) -> int:
        """63 bits: a function of the settings' seed, the record and the variant."""
        return keyed_uint64(f"caption.{name}", self.settings.seed, row.id) >> 1
