"""Captions of the kept images, several variants each, one table a variant.

The stage keeps engines full (`flow`): rows of any shard are prepared by threads and handed in until
`max_in_flight` requests are running, and come back in the order in which they end. A variant may
name a model of its own (`models`); each worker holds all that are asked. A variant's table depends
on that variant's settings alone, so that adding a variant captions nothing again. Each variant of a
row ends by itself, as a caption or as a reason (`failures`).

    nucleus caption CORPUS caption.model=Qwen/Qwen3-VL-8B-Instruct caption.revision=0c351dd
    nucleus caption CORPUS        # the packaged model, for synthetic scenes, on a CPU
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import ClassVar

from nucleus_data.engines.captioner import Engine
from nucleus_data.engines.load import load_engine
from nucleus_data.stage import Result, Row, RowFailure, RowStage, TableSpec
from nucleus_data.stages.caption.asking import ORIGINS, Asking
from nucleus_data.stages.caption.checks import KINDS
from nucleus_data.stages.caption.flow import Flow
from nucleus_data.stages.caption.lanes import Lane
from nucleus_data.stages.caption.loading import Loaded, load_models
from nucleus_data.stages.caption.models import place_of
from nucleus_data.stages.caption.rounds import Clock
from nucleus_data.stages.caption.settings import CaptionSettings
from nucleus_data.stages.caption.tables import SCHEMA, caption_columns, caption_tables
from nucleus_data.stages.caption.truth.words import told

__all__ = ["BUSY", "ORIGINS", "SCHEMA", "Caption"]

BUSY = "busy_ms:"


class Caption(RowStage[CaptionSettings]):
    """Captions the kept images, each variant in a table of its own."""

    name = "caption"
    help = "Caption the kept images with Qwen3-VL."
    resources: ClassVar = {"actors": 1}
    Settings = CaptionSettings
    chooses = "kept"
    keeps_details = True
    repeated = frozenset(kind.name for kind in KINDS)

    def __init__(self, settings: CaptionSettings) -> None:
        super().__init__(settings)
        self.columns = caption_columns(settings)
        self._models: list[Loaded] = []
        self._lanes: list[Lane] = []
        self._clock: Clock | None = None

    @cached_property
    def _tables(self) -> Sequence[TableSpec]:
        return caption_tables(self.settings)

    def tables(self) -> Sequence[TableSpec]:
        """One table a variant. Raises RequestError when the model is not there."""
        return self._tables

    def rows_at_once(self) -> int:
        """As many as keep the engines full if each lacks one variant."""
        asked = self.settings.asked_of()
        return sum(self.settings.with_model(name).max_in_flight for name in asked)

    def setup(self) -> None:
        """Loads the engines. Raises RequestError if one can't be asked what the variants ask."""
        self._clock = Clock()
        self._models = load_models(self.settings, load_engine)

    def watch(self, wrap: Callable[[str, Engine], Engine]) -> None:
        """Has all that goes to the engines, and comes back, go through something; after `setup`.

        Args:
            wrap: From a model's name (of `caption.models`; empty for the stage's own) and engine.
        """
        assert self._models, "setup() comes first"
        for model in self._models:
            model.engine = wrap(model.name, model.engine)

    def process(self, rows: Iterator[Row | None]) -> Iterator[Result | RowFailure]:
        """Captions rows; holds as many as keep the engines full, and works when given None."""
        if self._clock is None:
            raise RuntimeError("setup() comes before process()")
        self._lanes = [
            Lane(
                one.engine,
                Asking(one.settings, one.engine.count_tokens),
                self.cpus,
                one.variants,
                one.probes,
            )
            for one in self._models
        ]
        yield from Flow(self._lanes, self.cpus, self._clock).run(rows)

    def spent(self) -> Mapping[str, float]:
        """How long an engine worked, and all waited for pictures."""
        return self._clock.take() if self._clock else {}

    def counted(self) -> Mapping[str, int]:
        """What went through the engines, and what truth tests found; of several, each one's time.

        The time is in milliseconds, of `busy_ms:caption.models.NAME`.
        """
        found: Counter[str] = Counter()
        for one in self._models:
            found.update(one.engine.counts())
            found.update(one.probes.counts())
        if len(self._models) > 1:
            for one, lane in zip(self._models, self._lanes, strict=False):
                found[f"{BUSY}{place_of(one.name)}"] += lane.take_busy_ms()
        return found

    def told(self, counts: Mapping[str, int]) -> Sequence[str]:
        """What truth tests found."""
        return [line] if (line := told(counts)) else []
