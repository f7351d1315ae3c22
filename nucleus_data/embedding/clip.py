"""An open_clip model behind two methods: images to unit vectors, texts to unit vectors."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nucleus_data.errors import RequestError

ASSETS = Path(__file__).resolve().parents[1] / "assets"
NANO = "nano"
BATCH = 64
INSTALL = "open_clip is not installed; run: pip install 'nucleus-data[embed]'"
Vectors = NDArray[np.float32]


class Clip:
    """A loaded model.

    Args:
        name: What open_clip calls it: `local-dir:FOLDER`, `hf-hub:OWNER/NAME`.
        device: Where it runs.

    Attributes:
        width: D, the length of a vector.
    """

    def __init__(self, name: str, device: str = "cpu") -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import open_clip
        import torch

        model, _, transform = open_clip.create_model_and_transforms(name, device=device)
        self._torch = torch
        self._model: Any = model.eval()
        self._transform: Any = transform
        self._tokenizer: Any = open_clip.get_tokenizer(name)
        self._device = device
        with torch.inference_mode():
            self.width = int(model.encode_text(self._ids([""])).shape[1])

    def images(self, images: Sequence[Image.Image]) -> Vectors:
        """Embeds pictures.

        Args:
            images: RGB.

        Returns:
            float32 (N, D), each of length 1.
        """
        torch = self._torch
        return self._embedded(
            images,
            lambda batch: self._model.encode_image(
                torch.stack([self._transform(image) for image in batch]).to(self._device),
                normalize=True,
            ),
        )

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Embeds texts; what is longer than the model's context is cut.

        Returns:
            float32 (N, D), each of length 1.
        """
        return self._embedded(
            texts, lambda batch: self._model.encode_text(self._ids(batch), normalize=True)
        )

    def _ids(self, texts: Sequence[str]) -> Any:
        return self._tokenizer(list(texts)).to(self._device)

    def _embedded(self, items: Sequence[Any], encode: Any) -> Vectors:
        if not items:
            return np.zeros((0, self.width), dtype=np.float32)
        with self._torch.inference_mode():
            parts = [
                encode(items[start : start + BATCH]).float().cpu().numpy()
                for start in range(0, len(items), BATCH)
            ]
        return np.concatenate(parts)


def load_clip(model: str = NANO, device: str = "cpu") -> Clip:
    """Loads a model.

    Args:
        model: `nano` (the packaged one, for synthetic scenes), a folder with
            `open_clip_config.json`, or a hub name such as `timm/ViT-B-16-SigLIP2-512`.
        device: As torch names it.

    Returns:
        The model.

    Raises:
        RequestError: open_clip is missing, or the folder is no model.
    """
    folder = ASSETS / "clip" if model == NANO else Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "open_clip_config.json").is_file():
            raise RequestError(f"{folder} needs open_clip_config.json, as open_clip saves it")
        name = f"local-dir:{folder}"
    elif model == NANO or model.startswith((".", "/", "~")):
        raise RequestError(f"{folder} is not a folder; allowed are nano, a folder, a hub name")
    else:
        name = f"hf-hub:{model}"
    try:
        return Clip(name, device)
    except ModuleNotFoundError as error:
        raise RequestError(f"{INSTALL} ({error})") from error
