"""An open_clip model behind two methods: images to unit vectors, texts to unit vectors."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nucleus_data.engines.find import CLIP, CONTENT, NANO, ModelReference, resolve_model
from nucleus_data.errors import RequestError

INSTALL = "open_clip is not installed; run: pip install 'nucleus-data[embed]'"
Vectors = NDArray[np.float32]
Precision = Literal["fp32", "bf16"]
# Sums come out in another order in a batch of another size, so every batch has this one, and a
# vector's bits don't depend on its company. On CPUs larger batches are no faster.
BATCH_ON_CPU, BATCH_ON_GPU = 1, 64


class Clip:
    """A loaded model.

    Args:
        name: What open_clip calls it, for example `local-dir:FOLDER`.
        device: torch's name of the device that it runs on.
        precision: Precision of its weights and layers.

    Attributes:
        width: D, the length of a vector.
        batch: Pictures or texts that are encoded at once.
    """

    def __init__(self, name: str, device: str = "cpu", precision: Precision = "fp32") -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import open_clip
        import torch

        model, _, transform = open_clip.create_model_and_transforms(
            name, device=device, precision=precision
        )
        self._torch = torch
        self._model: Any = model.eval()
        self._transform: Any = transform
        self._tokenizer: Any = open_clip.get_tokenizer(name)
        self._device = device
        self._type = torch.bfloat16 if precision == "bf16" else torch.float32
        self.batch = BATCH_ON_CPU if device == "cpu" else BATCH_ON_GPU
        self.width = 0
        self.width = self.texts([""]).shape[1]

    def images(self, images: Sequence[Image.Image]) -> Vectors:
        """Embeds pictures.

        Args:
            images: RGB.

        Returns:
            float32 (N, D), each of length 1.
        """
        return self._embedded(
            images,
            lambda batch: self._torch.stack([self._transform(image) for image in batch]),
            lambda pixels: self._model.encode_image(pixels.to(self._type), normalize=True),
        )

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Embeds texts; what is longer than the model's context is cut.

        Returns:
            float32 (N, D), each of length 1.
        """
        return self._embedded(
            texts, self._tokenizer, lambda ids: self._model.encode_text(ids, normalize=True)
        )

    def _embedded(
        self, items: Sequence[Any], tensor: Callable[[Any], Any], encode: Callable[[Any], Any]
    ) -> Vectors:
        parts = [np.zeros((0, self.width), dtype=np.float32)] if not items else []
        with self._torch.inference_mode():
            for start in range(0, len(items), self.batch):
                batch = list(items[start : start + self.batch])
                count = len(batch)
                batch += [batch[-1]] * (self.batch - count)
                vectors = encode(tensor(batch).to(self._device))
                parts.append(vectors[:count].float().cpu().numpy())
        return np.concatenate(parts)


def load_clip(
    model: str | ModelReference = NANO, device: str = "cpu", precision: Precision = "fp32"
) -> Clip:
    """Loads a model.

    Args:
        model: `nano` (the packaged one, for synthetic scenes), a folder with
            `open_clip_config.json`, or what `resolve_model` made of a hub name.
        device: As torch names it.
        precision: Precision of its weights and layers.

    Returns:
        The model.

    Raises:
        RequestError: open_clip is missing, or the folder is no model.
    """
    found = model if isinstance(model, ModelReference) else resolve_model(model, None, CLIP)
    try:
        folder = found.location if found.local else _fetched(found)
        return Clip(f"local-dir:{folder}", device, precision)
    except ModuleNotFoundError as error:
        raise RequestError(f"{INSTALL} ({error})") from error


def _fetched(model: ModelReference) -> str:
    """A hub model's files at its revision; open_clip's own `hf-hub:` would take the newest ones."""
    from huggingface_hub import snapshot_download

    wanted = [f"*{suffix}" for suffix in sorted(CONTENT)]
    return snapshot_download(model.location, revision=model.revision, allow_patterns=wanted)
