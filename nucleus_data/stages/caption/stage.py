"""The stage `caption`: captions the kept images in several variants, one table per variant.

The stage keeps its engines full (`flow`): threads prepare rows of any shard, which are submitted
until `max_in_flight` requests are running, and returned in the order in which they finish. A
variant may use a model of its own (`models`); each worker loads all models in use. A variant's
table depends only on that variant's settings, so adding a variant recaptions nothing. Each variant
of a row ends on its own, with a caption or a failure (`failures`).

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
        """Returns one table per variant. Raises RequestError if a model does not exist."""
        return self._tables

    def rows_at_once(self) -> int:
        """Returns how many rows keep the engines full, even if each lacks only one variant."""
        asked = self.settings.asked_of()
        return sum(self.settings.with_model(name).max_in_flight for name in asked)

    def setup(self) -> None:
        """Loads the engines. Raises RequestError if one can't serve its variants."""
        self._clock = Clock()
        self._models = load_models(self.settings, load_engine)

    def watch(self, wrap: Callable[[str, Engine], Engine]) -> None:
        """Wraps every engine, to observe its requests and answers; to be called after `setup`.

        Args:
            wrap: Takes a model's name (in `caption.models`; empty for `caption.model`) and its
                engine, and returns the engine to use.
        """
        assert self._models, "setup() comes first"
        for model in self._models:
            model.engine = wrap(model.name, model.engine)

    def process(self, rows: Iterator[Row | None]) -> Iterator[Result | RowFailure]:
        """Captions rows, holding as many as keep the engines full; a None makes it work."""
        if self._clock is None:
            raise RuntimeError("setup() must be called before process()")
        self._lanes = [
            Lane(
                model.engine,
                Asking(model.settings, model.engine.count_tokens),
                self.cpus,
                model.variants,
                model.probes,
            )
            for model in self._models
        ]
        yield from Flow(self._lanes, self.cpus, self._clock).run(rows)

    def spent(self) -> Mapping[str, float]:
        """Returns how long the engines worked, and how long they waited for pictures."""
        return self._clock.take() if self._clock else {}

    def counted(self) -> Mapping[str, int]:
        """Returns counts of the engines and of the truth tests.

        If there are several models, the time of each, in milliseconds, is counted as
        `busy_ms:caption.models.NAME`.
        """
        counts: Counter[str] = Counter()
        for model in self._models:
            counts.update(model.engine.counts())
            counts.update(model.probes.counts())
        if len(self._models) > 1:
            for model, lane in zip(self._models, self._lanes, strict=False):
                counts[f"{BUSY}{place_of(model.name)}"] += lane.take_busy_ms()
        return counts

    def told(self, counts: Mapping[str, int]) -> Sequence[str]:
        """Returns a line about the truth tests, if there were any."""
        return [line] if (line := told(counts)) else []
