"""Captions of the kept images, several variants each, one table a variant.

The stage keeps an engine full: rows of any shard are decoded and handed in until `max_in_flight`
requests are running, and come back in the order in which they end. A variant's table depends on
that variant's settings alone, so that adding a variant captions nothing again. Each variant of a
row ends by itself, as a caption or as a reason (`failures`).

    nucleus caption CORPUS caption.model=Qwen/Qwen3-VL-8B-Instruct caption.revision=0c351dd
    nucleus caption CORPUS        # the packaged model, for synthetic scenes, on a CPU
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from nucleus_data.config import deciding
from nucleus_data.engines.captioner import Engine, Generated, Sampling
from nucleus_data.engines.find import resolve_model
from nucleus_data.engines.load import load_engine
from nucleus_data.hashing import keyed_uint64
from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.stage import Result, Row, RowFailure, RowStage, TableFailure, TableSpec
from nucleus_data.stages.caption.failures import (
    LOST,
    UpstreamError,
    check_aspect,
    check_upstream,
    engine_raised,
    failure_of,
)
from nucleus_data.stages.caption.prompts import question, visible
from nucleus_data.stages.caption.settings import CaptionSettings, Variant

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
# A caption's `source`: made of the picture alone, or of the caption that it came with too.
ORIGINS = ("synthesized", "refined")
# They enter a table's hash as what they resolve to: the table's own variant, the model's content.
RESOLVED = ("variants", "model", "revision")


@dataclass(eq=False)
class _Held:
    """A row whose requests are running."""

    row: Row
    left: set[str]
    values: dict[str, Mapping[str, Any] | TableFailure] = field(default_factory=dict)


class Caption(RowStage[CaptionSettings]):
    """Captions the kept images, each variant in a table of its own."""

    name = "caption"
    help = "Caption the kept images with Qwen3-VL."
    resources: ClassVar = {"actors": 1}
    Settings = CaptionSettings
    chooses = "kept"
    keeps_details = True

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
                    **deciding(variant),
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
            outcome = self._submit(row, wanted, held)
            if outcome is not None:
                yield outcome
        while held:
            yield from self._step(held)

    def _submit(
        self, row: Row, wanted: set[str], held: dict[str, _Held]
    ) -> Result | RowFailure | None:
        """Decodes a row and asks for its captions.

        Returns:
            The row's outcome if nothing was asked: its picture or its questions can't be.
        """
        assert self._engine is not None  # process() checked it
        if row.image is None:
            return RowFailure(row, "no_image")
        try:
            pixels = open_picture(row.image).rgb(max_side=self.settings.max_side)
            check_aspect(pixels)
        except PixelError as error:
            return RowFailure(row, str(error.reason), error.detail)
        job = _Held(row, set())
        for name in sorted(wanted):
            key = f"{row.shard}/{row.row}/{name}"
            variant = self.settings.variants[name]
            sampling = Sampling(
                max_tokens=variant.max_tokens,
                temperature=variant.temperature,
                top_p=variant.top_p,
                presence_penalty=variant.presence_penalty,
                seed=self._seed(row, name),
            )
            try:
                asked = self._question(variant, row)
                self._engine.submit(key, pixels, asked, sampling)
            except UpstreamError as error:
                job.values[f"caption.{name}"] = error.failure
            except Exception as error:  # the request's own; an engine that is broken raises in step
                job.values[f"caption.{name}"] = engine_raised(error)
            else:
                held[key] = job
                job.left.add(name)
        return None if job.left else Result(row, job.values)

    def _question(self, variant: Variant, row: Row) -> str:
        """What a variant asks about a row. Raises UpstreamError if its caption can't be in it."""
        assert self._engine is not None  # process() checked it
        if not variant.refines:
            return variant.template
        count, most = self._engine.count_tokens, self.settings.max_upstream_tokens
        return question(variant.template, check_upstream(row.columns.get(CAPTION), count, most))

    def _step(self, held: dict[str, _Held]) -> Iterator[Result | RowFailure]:
        """One step of the engine; gives back the rows whose last request ended in it."""
        assert self._engine is not None  # process() checked it
        # Otherwise the stage would wait for ever for requests that nobody works on.
        if held and not self._engine.pending():
            made = [Generated(key, error="it gave nothing back", reason=LOST) for key in held]
        else:
            made = self._engine.step()
        for one in made:
            job, name = held.pop(one.key, None), one.key.rsplit("/", 1)[-1]
            # A second answer, or one to what was asked before the stage raised: the first counts.
            if job is None:
                continue
            job.left.remove(name)
            failure = failure_of(one)
            job.values[f"caption.{name}"] = failure or self._values(job.row, name, one)
            if not job.left:
                yield Result(job.row, job.values)

    def _values(self, row: Row, name: str, made: Generated) -> dict[str, Any]:
        """A caption's row: the text, and all that is needed to trace it."""
        assert self._engine is not None  # process() checked it
        variant = self.settings.variants[name]
        refined = variant.refines and visible(row.columns.get(CAPTION) or "")
        return {
            "caption": made.text,
            "source": ORIGINS[bool(refined)],
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
