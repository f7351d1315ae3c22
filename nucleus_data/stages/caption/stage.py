"""Captions of the kept images, several variants each, one table a variant.

The stage keeps an engine full (`flow`): rows of any shard are prepared by threads and handed in
until `max_in_flight` requests are running, and come back in the order in which they end. A
variant's table depends on that variant's settings alone, so that adding a variant captions nothing
again. Each variant of a row ends by itself, as a caption or as a reason (`failures`).

    nucleus caption CORPUS caption.model=Qwen/Qwen3-VL-8B-Instruct caption.revision=0c351dd
    nucleus caption CORPUS        # the packaged model, for synthetic scenes, on a CPU
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from nucleus_data.engines.captioner import Ask, Engine, Sampling
from nucleus_data.engines.grammar import check_grammar
from nucleus_data.engines.load import load_engine
from nucleus_data.errors import RequestError
from nucleus_data.pixels import open_picture
from nucleus_data.stage import Result, Row, RowFailure, RowStage, TableSpec
from nucleus_data.stages.caption.asking import ORIGINS, Asking
from nucleus_data.stages.caption.flow import Flow
from nucleus_data.stages.caption.rounds import Clock, fitting
from nucleus_data.stages.caption.settings import CaptionSettings
from nucleus_data.stages.caption.tables import SCHEMA, caption_columns, caption_tables
from nucleus_data.stages.caption.truth import Probes
from nucleus_data.stages.caption.truth_words import told

__all__ = ["ORIGINS", "SCHEMA", "Caption"]


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
        self.columns = caption_columns(settings)
        self._engine: Engine | None = None
        self._clock: Clock | None = None
        self._probes: Probes | None = None

    def tables(self) -> Sequence[TableSpec]:
        """One table a variant. Raises RequestError when the model is not there."""
        return caption_tables(self.settings)

    def rows_at_once(self) -> int:
        """As many as keep the engine full if each lacks one variant."""
        return self.settings.max_in_flight

    def setup(self) -> None:
        """Loads the engine. Raises RequestError if it can't be asked what the variants ask."""
        self._clock = Clock()
        self._engine = load_engine(self.settings)
        fitted = fitting(self.settings)
        self._probes = Probes(self.settings.probes, lambda data: fitted(open_picture(data)))
        for name, variant in self.settings.variants.items():
            if variant.schema_text is not None:
                check_grammar(variant.schema_text, f"caption.variants.{name}.schema")
        self._try_out(self._engine)

    def _try_out(self, engine: Engine) -> None:
        """Refuses a system prompt or a schema that the engine takes of no picture."""
        picture = np.full((64, 64, 3), 128, np.uint8)
        for name, variant in self.settings.variants.items():
            system = variant.system or self.settings.system
            if system is None and variant.schema_text is None:
                continue
            ask = Ask(name, ".", Sampling(1), system, variant.schema_text, variant.sees_picture)
            for made in engine.prepare(picture if ask.sees_picture else None, [ask]).failed:
                if made.reason == "caption_refused":
                    raise RequestError(f"caption.variants.{name}: {made.error}")

    def process(self, rows: Iterator[Row | None]) -> Iterator[Result | RowFailure]:
        """Captions rows; holds as many as keep the engine full, and works when given None."""
        if self._engine is None or self._clock is None or self._probes is None:
            raise RuntimeError("setup() comes before process()")
        asking = Asking(self.settings, self._engine.count_tokens)
        flow = Flow(self._engine, asking, asking.fault, self.cpus, self._clock, self._probes)
        yield from flow.run(rows)

    def spent(self) -> Mapping[str, float]:
        """How long the engine worked, and waited for pictures."""
        return self._clock.take() if self._clock else {}

    def counted(self) -> Mapping[str, int]:
        """What went through the engine, and what truth tests found."""
        if self._engine is None or self._probes is None:
            return {}
        return {**self._engine.counts(), **self._probes.counts()}

    def told(self, counts: Mapping[str, int]) -> Sequence[str]:
        """What truth tests found."""
        return [line] if (line := told(counts)) else []
