"""Latents and text states that `nucleus encode` left beside a set, as a run reads them.

latents = open_latents(training_set.store, settings, ...)   # None: there are none for this run
begun = latents.begin([("256/1x1/000000.tar", ident, (256, 256)), ...])
begun()                                # for each the latent; None: that one is to be made here
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
    """Latents of a set at a resolution.

    Args:
        store: The store whose root is the set.
        hashed: Their config hash.
        dtype: Of the numbers.
        channels: Of a latent.
        factor: Pixels on the side of a latent pixel.
        reads: Threads that read; None for its own.
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
        """Begins to read latents.

        Args:
            samples: Of each: the path of its tar below the set, its id, and its picture's width and
                height.

        Returns:
            What waits for them: the latent (1, C, H, W) of each sample; None if there is none.
        """
        finish = self.begin_values(
            [
                Wanted(encoded_name(self.hash, tar), bytes.fromhex(ident), self.shape(size))
                for tar, ident, size in samples
            ]
        )
        return lambda: [None if found is None else self.tensor(found) for found in finish()]

    def shape(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """The shape of a latent, of its picture's width and height."""
        return 1, self.channels, size[1] // self.factor, size[0] // self.factor

    def bytes_of(self, size: tuple[int, int]) -> int:
        """The bytes of a latent, as a tensor."""
        _, channels, height, width = self.shape(size)
        return 4 * channels * height * width


class StoredTexts(StoredValues):
    """Text states of a caption edition.

    Args:
        store: The store whose root is the set.
        hashed: Their config hash.
        dtype: Of the numbers.
        about: What their folder says of itself.
        width: Of a text state.
        reads: Threads that read; None for its own.
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
        self._lock = threading.Lock()  # a thread that encodes ahead asks beside the trainer

    def of(self, texts: Sequence[str]) -> list[Text]:
        """The states (L, D) of each text, and whether it was cut; None where there are none."""
        wanted = []
        for text in texts:
            key = text_key(text)
            name = f"{self.folder}/{part_name(part_of(key, self.parts))}"
            wanted.append(Wanted(name, key, (None, self.width)))
        with self._lock:
            found = self.begin_values(wanted)()
            for one in found:
                self.count(one)
        return [None if one is None else (self.tensor(one), one.cut) for one in found]


def open_latents(
    store: Store,
    settings: QuickTrainSettings,
    resolution: int,
    channels: int,
    factor: int,
    reads: Reads | None = None,
) -> StoredLatents | None:
    """The latents of a set that are right for a run; None if there are none.

    Args:
        store: The store whose root is the set.
        settings: The run's.
        resolution: Of the pictures.
        channels: Of a latent.
        factor: Pixels on the side of a latent pixel.
        reads: Threads that read; None for its own.
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
    """The text states of a set that are right for a run; None if there are none.

    Args:
        store: The store whose root is the set.
        settings: The run's.
        edition: Config hash of the caption edition.
        width: Of a text state.
        reads: Threads that read; None for its own.
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
    except DamagedError:  # as if it were not there: all is encoded here
        return None
