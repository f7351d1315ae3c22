"""Caches what the runs of one process can share.

    kept = Kept()
    for seed in range(6):
        quick_train(folder, out / str(seed), settings(seed), kept=kept)

Everything cached is a pure function of a set, a picture or a prompt: opened sets with their decoded
pictures and latents, and the text encoder with its states. So no run depends on what ran before it.
Published sets do not change; if you do change one, use a new `Kept`.
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

SETS = 4  # the two compared sets, their reference, and another set for the next comparison
CODEC = {"codec", "codec_factor", "vae", "vae_revision", "device"}


class Kept:
    """A cache of opened sets, their latents, and text encoders.

    Args:
        sets: Maximum number of open sets; the least recently used one is closed first.
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
        """Opens a set as `TrainingSet` does, or returns the one that is open.

        Its `failures` are cleared, as each run finds undecodable pictures by itself.
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
        opened = self._sets[key]
        opened.failures.clear()
        return opened

    def latents(
        self, opened: TrainingSet, codec: Codec, settings: QuickTrainSettings, cache_bytes: int
    ) -> Latents:
        """Returns the latents of a set opened by this object.

        Args:
            opened: The set.
            codec: The codec of the settings.
            settings: The run's settings, for the codec's name and the device.
            cache_bytes: Memory for latents, in bytes.
        """
        key = (id(opened), settings.model_dump_json(include=CODEC), cache_bytes)
        if key not in self._latents:
            # Batched on a GPU, where that is faster. On a CPU one by one, so that an image's latent
            # does not depend on its batch, to the last bit.
            together = torch.device(settings.device).type != "cpu"
            self._latents[key] = Latents(codec, cache_bytes, together=together)
        return self._latents[key]

    def text(self, settings: QuickTrainSettings) -> TextEncoder:
        """Returns the text encoder for a run, with its count of truncated texts reset."""
        key = settings.text.model_dump_json() + settings.device
        if key not in self._texts:
            self._texts[key] = load_text_encoder(settings)
        return self._texts[key].afresh()
