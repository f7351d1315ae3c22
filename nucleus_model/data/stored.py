"""Latents and text states that `nucleus encode` left beside a set, as a run reads them.

    latents = open_latents(training_set, settings, codec)   # None: there are none for this run
    latents.of("256/1x1/000000.tar", ident, (16, 32, 32))   # None: that one is to be made here

A file that is damaged or missing costs what is in it alone: it is noted, and encoded here.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch

from nucleus_data.corpus.damaged import DamagedError, damaged
from nucleus_data.corpus.store import Store
from nucleus_data.hashing import config_hash
from nucleus_data.sets.encoded import (
    ENCODED,
    SUFFIX,
    EncodedFile,
    Value,
    encoded_name,
    part_of,
    read_marker,
    text_key,
    texts_folder,
)
from nucleus_model.settings.encoded import latents_identity, texts_identity
from nucleus_model.settings.settings import QuickTrainSettings

OPEN_FILES = 64
TORCH = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class StoredValues:
    """Encoded values of a folder.

    Args:
        store: The store whose root is the set.
        folder: The folder below the set.
        dtype: Of the numbers.

    Attributes:
        folder: As given.
        read: How many values were read.
        lacking: How many were asked for that are not there, or damaged.
        faults: File to what is wrong with it, or with the first value in it that is.
    """

    def __init__(self, store: Store, folder: str, dtype: str) -> None:
        self.store, self.folder, self.dtype = store, folder, dtype
        self.read = self.lacking = 0
        self.faults: dict[str, str] = {}
        self._open: OrderedDict[str, EncodedFile | None] = OrderedDict()

    def get(self, name: str, key: bytes, shape: tuple[int | None, ...]) -> Value | None:
        """A value; None if it is not there, or is damaged.

        Args:
            name: Its file.
            key: Its key.
            shape: What it must have; None for any length.
        """
        try:
            file = self._file(name)
            found = None if file is None else file.get(key)
            fits = found is None or (
                len(found.shape) == len(shape)
                and all(w in (None, n) for n, w in zip(found.shape, shape, strict=True))
            )
            if not fits:
                assert found is not None
                raise damaged(self.store, name, f"a value has the shape {found.shape}")
        except DamagedError as error:
            self.faults.setdefault(name, error.found)
            return None
        return found

    def _file(self, name: str) -> EncodedFile | None:
        if name not in self._open:
            self._open[name] = self._opened(name)
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)
        self._open.move_to_end(name)
        return self._open[name]

    def _opened(self, name: str) -> EncodedFile | None:
        if name in self.faults:
            return None
        try:
            return EncodedFile(self.store, name, self.dtype)
        except FileNotFoundError:
            self.faults[name] = "it is missing"
        except DamagedError as error:
            self.faults[name] = error.found
        return None

    def count(self, found: object) -> None:
        """Counts what was asked for: a value, or None for one that is lacking."""
        self.read += found is not None
        self.lacking += found is None

    def tensor(self, value: Value) -> torch.Tensor:
        """A value's numbers, float32."""
        flat = torch.frombuffer(bytearray(value.data), dtype=TORCH[self.dtype])
        return flat.float().reshape(value.shape)


class StoredLatents(StoredValues):
    """Latents of a set at a resolution.

    Args:
        store: The store whose root is the set.
        hashed: Their config hash.
        dtype: Of the numbers.
        channels: Of a latent.
        factor: Pixels on the side of a latent pixel.
    """

    def __init__(self, store: Store, hashed: str, dtype: str, channels: int, factor: int) -> None:
        super().__init__(store, f"{ENCODED}/{hashed}", dtype)
        self.hash, self.channels, self.factor = hashed, channels, factor

    def of(self, tar: str, ident: str, size: tuple[int, int]) -> torch.Tensor | None:
        """The latent (1, C, H, W) of a sample; None if there is none.

        Args:
            tar: The path of its tar below the set.
            ident: Its id.
            size: Width and height of its picture.
        """
        shape = (1, self.channels, size[1] // self.factor, size[0] // self.factor)
        found = self.get(encoded_name(self.hash, tar), bytes.fromhex(ident), shape)
        return None if found is None else self.tensor(found)


class StoredTexts(StoredValues):
    """Text states of a caption edition.

    Args:
        store: The store whose root is the set.
        hashed: Their config hash.
        dtype: Of the numbers.
        about: What their folder says of itself.
        width: Of a text state.
    """

    def __init__(
        self, store: Store, hashed: str, dtype: str, about: Mapping[str, Any], width: int
    ) -> None:
        super().__init__(store, texts_folder(hashed), dtype)
        self.parts, self.width = int(about["parts"]), width

    def of(self, text: str) -> tuple[torch.Tensor, bool] | None:
        """The states (L, D) of a text, and whether it was cut; None if there are none."""
        key = text_key(text)
        name = f"{self.folder}/{part_of(key, self.parts):06d}{SUFFIX}"
        found = self.get(name, key, (None, self.width))
        self.count(found)
        return None if found is None else (self.tensor(found), found.cut)


def open_latents(
    store: Store, settings: QuickTrainSettings, resolution: int, channels: int, factor: int
) -> StoredLatents | None:
    """The latents of a set that are right for a run; None if there are none.

    Args:
        store: The store whose root is the set.
        settings: The run's.
        resolution: Of the pictures.
        channels: Of a latent.
        factor: Pixels on the side of a latent pixel.
    """
    if settings.encoded == "off":
        return None
    hashed = config_hash(latents_identity(settings, resolution, settings.encoded))
    if _about(store, f"{ENCODED}/{hashed}") is None:
        return None
    return StoredLatents(store, hashed, settings.encoded, channels, factor)


def open_texts(
    store: Store, settings: QuickTrainSettings, edition: str, width: int
) -> StoredTexts | None:
    """The text states of a set that are right for a run; None if there are none.

    Args:
        store: The store whose root is the set.
        settings: The run's.
        edition: Config hash of the caption edition.
        width: Of a text state.
    """
    if settings.encoded == "off":
        return None
    hashed = config_hash(texts_identity(settings, edition, settings.encoded))
    about = _about(store, texts_folder(hashed))
    return None if about is None else StoredTexts(store, hashed, settings.encoded, about, width)


def _about(store: Store, folder: str) -> dict[str, Any] | None:
    try:
        return read_marker(store, folder)
    except DamagedError:  # as if it were not there: all is encoded here
        return None
