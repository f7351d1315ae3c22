"""Captions of the kept images, several variants each, one table a variant.

The stage keeps an engine full: rows of any shard are decoded and handed in until `max_in_flight`
requests are running, and come back in the order in which they end. A variant's table depends on
that variant's settings alone, so that adding a variant captions nothing again.

    nucleus caption CORPUS caption.model=Qwen/Qwen3-VL-8B-Instruct caption.revision=0c351dd
    nucleus caption CORPUS        # the packaged model, for synthetic scenes, on a CPU
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nucleus_data.config import deciding
from nucleus_data.engines.captioner import Engine, EngineSettings, Generated, Sampling
from nucleus_data.engines.find import resolve_model
from nucleus_data.engines.load import load_engine
from nucleus_data.hashing import keyed_uint64
from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.stage import Result, Row, RowFailure, RowStage, TableSpec
from nucleus_data.stages.caption.prompts import PLACEHOLDER, PROMPTS, question

SCHEMA = pa.schema(
    [
        ("caption", pa.string()),
        ("source", pa.string()),
        ("parent", pa.string()),
        ("model", pa.string()),
        ("revision", pa.string()),
        ("prompt", pa.string()),
        ("seed", pa.int64()),
        ("temperature", pa.float32()),
        ("max_tokens", pa.int32()),
        ("engine", pa.string()),
        ("engine_version", pa.string()),
        ("finish_reason", pa.string()),
        ("tokens", pa.int32()),
    ]
)
CAPTION = "records:source.caption"
# They enter a table's hash as what they resolve to: the table's own variant, the model's content.
RESOLVED = ("variants", "model", "revision")


class Variant(BaseModel):
    """One caption of every image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = Field(
        description="The prompt's name, kept in the table; those with a text of their own are"
        f" {', '.join(PROMPTS)}."
    )
    text: str | None = Field(
        default=None,
        min_length=1,
        description="What the model is asked; the text of the prompt's name if left out. {caption}"
        " in it stands for the caption that the record came with.",
    )
    max_tokens: int = Field(default=256, ge=1, le=2048, description="Longest caption, in tokens.")
    temperature: float = Field(
        default=0.0, ge=0, le=2, description="0 takes the likeliest token (greedy)."
    )
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="Share of probability that sampling keeps."
    )
    presence_penalty: float = Field(
        default=0.0,
        ge=-2,
        le=2,
        description="Taken from the logits of tokens that the caption already has.",
    )

    @model_validator(mode="after")
    def _has_text(self) -> "Variant":
        if self.text is None and self.prompt not in PROMPTS:
            raise ValueError(
                f"prompt {self.prompt!r} has no text; give one, or use one of {sorted(PROMPTS)}"
            )
        return self

    @property
    def template(self) -> str:
        """What the model is asked, perhaps with a place for the record's caption."""
        return self.text or PROMPTS[self.prompt]

    @property
    def refines(self) -> bool:
        """Whether the record's caption is part of the question."""
        return PLACEHOLDER in self.template


class CaptionSettings(EngineSettings):
    """The caption stage: which model, and what it is asked."""

    variants: Mapping[str, Variant] = Field(
        default_factory=lambda: {
            "short": Variant(prompt="short", max_tokens=96),
            "long": Variant(prompt="long", max_tokens=256),
        },
        description="Caption variants: name (the table is caption.NAME) to prompt and sampling.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="Every request draws with a hash of this, the record's id and the variant.",
    )

    @field_validator("variants")
    @classmethod
    def _names(cls, variants: Mapping[str, Variant]) -> Mapping[str, Variant]:
        wrong = [name for name in variants if not name.isidentifier() or not name.islower()]
        if wrong or not variants:
            raise ValueError(
                f"needs one variant or more, named in lower case letters, digits and _; got {wrong}"
            )
        return variants


@dataclass(eq=False)
class _Held:
    """A row whose requests are running."""

    row: Row
    left: set[str]
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: str = ""


class Caption(RowStage[CaptionSettings]):
    """Captions the kept images, each variant in a table of its own."""

    name = "caption"
    help = "Caption the kept images with Qwen3-VL."
    resources: ClassVar = {"actors": 1}
    Settings = CaptionSettings
    chooses = "kept"

    def __init__(self, settings: CaptionSettings) -> None:
        super().__init__(settings)
        if any(variant.refines for variant in settings.variants.values()):
            self.columns = (CAPTION,)
        self._engine: Engine | None = None

    def tables(self) -> Sequence[TableSpec]:
        """One table a variant. Raises RequestError when the model is not there."""
        model = resolve_model(self.settings.model, self.settings.revision)
        common = deciding(self.settings, RESOLVED)
        return [
            TableSpec(
                f"caption.{name}",
                SCHEMA,
                version=1,
                settings={
                    **common,
                    "model": model.name,
                    "revision": model.revision,
                    "variant": name,
                    **variant.model_dump(mode="json"),
                    "text": variant.template,
                },
            )
            for name, variant in self.settings.variants.items()
        ]

    def setup(self) -> None:
        """Loads the engine."""
        self._model = resolve_model(self.settings.model, self.settings.revision)
        self._engine = load_engine(self.settings)

    def process(self, rows: Iterator[Row | None]) -> Iterator[Result | RowFailure]:
        """Captions rows; holds as many as keep the engine full, and steps it when given None."""
        if self._engine is None:
            raise RuntimeError("setup() comes before process()")
        held: dict[str, _Held] = {}
        for row in rows:
            if row is None:
                yield from self._step(held)
                continue
            wanted = {name for name in self.settings.variants if f"caption.{name}" in row.wanted}
            while held and self._engine.pending() + len(wanted) > self.settings.max_in_flight:
                yield from self._step(held)
            failure = self._submit(row, wanted, held)
            if failure is not None:
                yield failure
            elif not wanted:
                yield Result(row, {})
        while held:
            yield from self._step(held)

    def _submit(self, row: Row, wanted: set[str], held: dict[str, _Held]) -> RowFailure | None:
        """Decodes a row and asks for its captions; a picture that can't be read fails at once."""
        assert self._engine is not None  # process() checked it
        if row.image is None:
            return RowFailure(row, "no_image")
        try:
            pixels = open_picture(row.image).rgb(max_side=self.settings.max_side)
        except PixelError as error:
            return RowFailure(row, str(error.reason), error.detail)
        job = _Held(row, wanted)
        for name in sorted(wanted):
            key = f"{row.shard}/{row.row}/{name}"
            held[key] = job
            variant = self.settings.variants[name]
            sampling = Sampling(
                max_tokens=variant.max_tokens,
                temperature=variant.temperature,
                top_p=variant.top_p,
                presence_penalty=variant.presence_penalty,
                seed=self._seed(row, name),
            )
            asked = question(variant.template, row.columns.get(CAPTION))
            self._engine.submit(key, pixels, asked, sampling)
        return None

    def _step(self, held: dict[str, _Held]) -> Iterator[Result | RowFailure]:
        """One step of the engine; gives back the rows whose last request ended in it."""
        assert self._engine is not None  # process() checked it
        # Otherwise the stage would wait for ever for rows that nobody works on.
        if held and not self._engine.pending():
            raise RuntimeError(
                f"the engine lost {len(held)} requests, the first of them {next(iter(held))!r}"
            )
        for made in self._engine.step():
            job, name = held.pop(made.key), made.key.rsplit("/", 1)[1]
            job.left.remove(name)
            if made.error or not made.text:
                job.error = f"{name}: {made.error or 'the model ended at once'}"
            else:
                job.values[f"caption.{name}"] = self._values(job.row, name, made)
            if not job.left:
                yield self._outcome(job)

    def _outcome(self, job: _Held) -> Result | RowFailure:
        if job.error:
            reason = "caption_empty" if job.error.endswith("ended at once") else "caption_refused"
            return RowFailure(job.row, reason, job.error)
        return Result(job.row, job.values)

    def _values(self, row: Row, name: str, made: Generated) -> dict[str, Any]:
        """A caption's row: the text, and all that is needed to trace it."""
        assert self._engine is not None  # process() checked it
        variant = self.settings.variants[name]
        refined = variant.refines and bool((row.columns.get(CAPTION) or "").strip())
        return {
            "caption": made.text,
            "source": "refined" if refined else "synthesized",
            "parent": "source" if refined else None,
            "model": self._model.name,
            "revision": self._model.revision,
            "prompt": variant.prompt,
            "seed": self._seed(row, name),
            "temperature": variant.temperature,
            "max_tokens": variant.max_tokens,
            "engine": self._engine.name,
            "engine_version": self._engine.version,
            "finish_reason": made.finish_reason,
            "tokens": made.tokens,
        }

    def _seed(self, row: Row, name: str) -> int:
        """63 bits: a function of the settings' seed, the record and the variant."""
        return keyed_uint64(f"caption.{name}", self.settings.seed, row.id) >> 1
