"""What the runs of one process share, so that the next one need not make it again.

    kept = Kept()
    for seed in range(6):
        quick_train(folder, out / str(seed), settings(seed), kept=kept)

All of it is a pure function of a set, a picture or a prompt: opened sets with their decoded
pictures and latents, and the text encoder with its states. No run's bytes depend on what ran before
it. Sets do not change once they are published; whoever changes one takes a new `Kept`.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch

from nucleus_model.data.latents import Latents
from nucleus_model.data.loader import EXACT_BELOW, TrainingSet
from nucleus_model.encoders.codec import Codec
from nucleus_model.encoders.load import load_text_encoder
from nucleus_model.encoders.text import TextEncoder
from nucleus_model.settings.loading import LoaderSettings
from nucleus_model.settings.settings import QuickTrainSettings

SETS = 4  # the two that are compared, their reference, and one that the next comparison brings
CODEC = {"codec", "codec_factor", "vae", "vae_revision", "device"}


class Kept:
    """Opened sets and a text encoder.

    Args:
        sets: How many sets stay open; the one that was asked for longest ago leaves first.
    """

    def __init__(self, sets: int = SETS) -> None:
        self.most = sets
        self._sets: OrderedDict[str, TrainingSet] = OrderedDict()
        self._latents: dict[tuple[int, str, int], Latents] = {}
        self._texts: dict[str, TextEncoder] = {}

    def open(
        self,
        folder: str,
        *,
        resolution: int | None = None,
        edition: str | None = None,
        columns: str | None = None,
        with_columns: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        cache_bytes: int = 1 << 30,
        loader: LoaderSettings | None = None,
        exact_below: int = EXACT_BELOW,
    ) -> TrainingSet:
        """Opens a set as `TrainingSet` does, or gives the one that is open.

        It has no failures: which pictures could not be decoded each run finds by itself.
        """
        options: dict[str, Any] = {
            "resolution": resolution,
            "edition": edition,
            "columns": columns,
            "with_columns": with_columns,
            "storage_options": dict(storage_options or {}),
            "cache_bytes": cache_bytes,
            "loader": loader or LoaderSettings(),
            "exact_below": exact_below,
        }
        key = repr((folder, options))
        if key not in self._sets:
            self._sets[key] = TrainingSet(folder, **options)
            while len(self._sets) > self.most:
                _, oldest = self._sets.popitem(last=False)
                self._latents = {k: v for k, v in self._latents.items() if k[0] != id(oldest)}
        self._sets.move_to_end(key)
        found = self._sets[key]
        found.failures.clear()
        return found

    def latents(
        self, opened: TrainingSet, codec: Codec, settings: QuickTrainSettings, cache_bytes: int
    ) -> Latents:
        """The latents of a set that this opened.

        Args:
            opened: The set.
            codec: Of the settings.
            settings: Of a run, for the codec's name and the device.
            cache_bytes: Memory for latents, in bytes.
        """
        key = (id(opened), settings.model_dump_json(include=CODEC), cache_bytes)
        if key not in self._latents:
            # Together where that is faster; on a CPU each alone, whose bits depend on nothing else.
            together = torch.device(settings.device).type != "cpu"
            self._latents[key] = Latents(codec, cache_bytes, together=together)
        return self._latents[key]

    def text(self, settings: QuickTrainSettings) -> TextEncoder:
        """The text encoder of a run, which counts what it cuts by itself."""
        key = settings.text.model_dump_json() + settings.device
        if key not in self._texts:
            self._texts[key] = load_text_encoder(settings)
        return self._texts[key].afresh()
