"""Reads the latents and text states that `nucleus encode` stored in a set's folder.

latents = open_latents(training_set.store, settings, ...)   # None if there are none for this run
begun = latents.begin([("256/1x1/000000.tar", ident, (256, 256)), ...])
begun()                                # the latent of each sample, or None if it has to be encoded
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.store import Store
from nucleus_data.hashing import config_hash
from nucleus_data.sets.encoded import (
    ENCODED,
    encoded_name,
    part_name,
    part_of,
    read_marker,
    text_key,
    texts_folder,
)
from nucleus_model.data.reads import Reads
from nucleus_model.data.stored_values import StoredValues, Wanted
from nucleus_model.settings.encoded import latents_identity, texts_identity
from nucleus_model.settings.settings import QuickTrainSettings

Latent = torch.Tensor | None
Text = tuple[torch.Tensor, bool] | None


class StoredLatents(StoredValues):
    """Stored latents of a set at one resolution.

    Args:
        store: The store whose root is the set.
        hashed: Config hash of the latents.
        dtype: Stored dtype: fp32, bf16 or fp16.
        channels: Channels of a latent.
        factor: Downsampling factor of the codec.
        reads: Thread pool for reading; None for one of its own.
    """

    def __init__(
        self,
        store: Store,
        hashed: str,
        dtype: str,
        channels: int,
        factor: int,
        reads: Reads | None = None,
    ) -> None:
        super().__init__(store, f"{ENCODED}/{hashed}", dtype, reads)
        self.hash, self.channels, self.factor = hashed, channels, factor

    def begin(
        self, samples: Sequence[tuple[str, str, tuple[int, int]]]
    ) -> Callable[[], list[Latent]]:
        """Starts reading latents.

        Args:
            samples: For each sample, the path of its tar below the set, its id, and the width and
                height of its picture.

        Returns:
            A function that waits for them, and returns the latent (1, C, H, W) of each sample, or
            None if there is none.
        """
        finish = self.begin_values(
            [
                Wanted(encoded_name(self.hash, tar), bytes.fromhex(ident), self.shape(size))
                for tar, ident, size in samples
            ]
        )
        return lambda: [None if value is None else self.tensor(value) for value in finish()]

    def shape(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Returns the shape of a latent, given the width and height of the picture."""
        return 1, self.channels, size[1] // self.factor, size[0] // self.factor

    def bytes_of(self, size: tuple[int, int]) -> int:
        """Returns the size of a latent as a float32 tensor, in bytes."""
        _, channels, height, width = self.shape(size)
        return 4 * channels * height * width


class StoredTexts(StoredValues):
    """Stored text states of a caption edition.

    Args:
        store: The store whose root is the set.
        hashed: Config hash of the text states.
        dtype: Stored dtype: fp32, bf16 or fp16.
        about: Content of the folder's `encoded.json`.
        width: Dimension of a text state.
        reads: Thread pool for reading; None for one of its own.
    """

    texts = True

    def __init__(
        self,
        store: Store,
        hashed: str,
        dtype: str,
        about: Mapping[str, Any],
        width: int,
        reads: Reads | None = None,
    ) -> None:
        super().__init__(store, texts_folder(hashed), dtype, reads)
        self.parts, self.width = int(about["parts"]), width
        self._lock = threading.Lock()  # used by the trainer and by the prefetching thread

    def of(self, texts: Sequence[str]) -> list[Text]:
        """Returns (states (L, D), whether the text was truncated) of each text, or None."""
        wanted = []
        for text in texts:
            key = text_key(text)
            name = f"{self.folder}/{part_name(part_of(key, self.parts))}"
            wanted.append(Wanted(name, key, (None, self.width)))
        with self._lock:
            values = self.begin_values(wanted)()
            for value in values:
                self.count(value)
        return [None if value is None else (self.tensor(value), value.cut) for value in values]


def open_latents(
    store: Store,
    settings: QuickTrainSettings,
    resolution: int,
    channels: int,
    factor: int,
    reads: Reads | None = None,
) -> StoredLatents | None:
    """Opens the stored latents that match a run's settings; None if there are none.

    Args:
        store: The store whose root is the set.
        settings: The run's settings.
        resolution: Resolution of the pictures.
        channels: Channels of a latent.
        factor: Downsampling factor of the codec.
        reads: Thread pool for reading; None for one of its own.
    """
    if settings.encoded == "off":
        return None
    hashed = config_hash(latents_identity(settings, resolution, settings.encoded))
    if _about(store, f"{ENCODED}/{hashed}") is None:
        return None
    return StoredLatents(store, hashed, settings.encoded, channels, factor, reads)


def open_texts(
    store: Store,
    settings: QuickTrainSettings,
    edition: str,
    width: int,
    reads: Reads | None = None,
) -> StoredTexts | None:
    """Opens the stored text states that match a run's settings; None if there are none.

    Args:
        store: The store whose root is the set.
        settings: The run's settings.
        edition: Config hash of the caption edition.
        width: Dimension of a text state.
        reads: Thread pool for reading; None for one of its own.
    """
    if settings.encoded == "off":
        return None
    hashed = config_hash(texts_identity(settings, edition, settings.encoded))
    about = _about(store, texts_folder(hashed))
    return (
        None if about is None else StoredTexts(store, hashed, settings.encoded, about, width, reads)
    )


def _about(store: Store, folder: str) -> dict[str, Any] | None:
    try:
        return read_marker(store, folder)
    except DamagedError:  # treated as missing: the trainer encodes everything itself
        return None
