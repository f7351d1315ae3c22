"""Embeds pictures and texts with a model of open_clip; `load_clip` loads one of either library."""

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from nucleus_data.engines.embedder import (
    Embedder,
    Pixels,
    Precision,
    TorchEmbedder,
    logit_of,
    normalised,
)
from nucleus_data.engines.find import CLIP, CONTENT, NANO, ModelReference, resolve_model
from nucleus_data.errors import RequestError

INSTALL = "{} is not installed; run: pip install 'nucleus-data[{}]'"
EXTRAS = {"open_clip": "embed", "transformers": "caption"}


class Clip(TorchEmbedder):
    """An embedding model of open_clip.

    Args:
        name: open_clip's name of the model, for example `local-dir:FOLDER`.
        device: torch's name of the device.
        precision: Precision of the weights and layers.
        batch: Number of pictures or texts in a batch; None for `embedder.default_batch`.
    """

    def __init__(
        self,
        name: str,
        device: str = "cpu",
        precision: Precision = "fp32",
        batch: int | None = None,
    ) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import open_clip

        super().__init__(device, precision, batch)
        model, _, transform = open_clip.create_model_and_transforms(
            name, device=device, precision=precision
        )
        self._model: Any = model.eval()
        self._prepare, self.sides = _in_place(transform)
        self._tokenizer: Any = open_clip.get_tokenizer(name)
        # Fast tokenizers are not thread-safe; they raise "Already borrowed".
        self._tokenizing = threading.Lock()
        self.logit = logit_of(model)
        self.width = 0
        self.width = self.texts([""]).shape[1]

    def prepare(self, picture: Image.Image, pixels: Pixels) -> None:
        """Writes a picture's preprocessed pixels to `pixels`."""
        self._prepare(picture, pixels)

    def tokens(self, texts: Sequence[str]) -> Any:
        """Tokenizes a batch; texts that exceed the model's context are truncated."""
        with self._tokenizing:
            return self._tokenizer(self._filled(texts))

    def start_images(self, pixels: Pixels) -> Any:
        """Starts to embed a whole batch."""
        with self._torch.inference_mode():
            return self._model.encode_image(self._pixels(pixels), normalize=True)

    def start_texts(self, tokens: Any) -> Any:
        """Starts to embed a whole batch."""
        with self._torch.inference_mode():
            return self._model.encode_text(tokens.to(self._device), normalize=True)


def _in_place(
    transform: Any,
) -> tuple[Callable[[Image.Image, Pixels], None], tuple[int, int]]:
    """Makes a function that applies a torchvision transform and writes the result to an array.

    Returns:
        The function, and the height and width of its result in pixels.
    """
    from torchvision.transforms import Compose, Normalize, ToTensor

    height, width = transform(Image.new("RGB", (64, 64))).shape[1:]
    steps = list(getattr(transform, "transforms", ()))
    usual = len(steps) > 2 and isinstance(steps[-1], Normalize) and isinstance(steps[-2], ToTensor)

    def as_it_is(picture: Image.Image, pixels: Pixels) -> None:
        pixels[:] = transform(picture).numpy()

    if not usual:
        return as_it_is, (height, width)
    resized = Compose(steps[:-2])
    mean, std = (
        np.array(values, np.float32).reshape(3, 1, 1) for values in (steps[-1].mean, steps[-1].std)
    )

    def in_numpy(picture: Image.Image, pixels: Pixels) -> None:
        normalised(resized(picture), mean, std, pixels)

    return in_numpy, (height, width)


def load_clip(
    model: str | ModelReference = NANO,
    device: str = "cpu",
    precision: Precision = "fp32",
    library: str = "open_clip",
    batch: int | None = None,
) -> Embedder:
    """Loads an embedding model.

    Args:
        model: `nano` (the packaged model, for synthetic scenes), a folder with
            `open_clip_config.json`, or a reference from `resolve_model`, as for a hub name.
        device: torch's name of the device.
        precision: Precision of the weights and layers.
        library: `open_clip` or `transformers`, whichever has the format of the model's files.
        batch: Number of pictures or texts in a batch; None for `embedder.default_batch`.

    Raises:
        RequestError: The library is not installed, or the folder is not a model.
    """
    reference = model if isinstance(model, ModelReference) else resolve_model(model, None, CLIP)
    try:
        if library == "transformers":
            from nucleus_data.engines.clip_transformers import TransformersClip

            return TransformersClip(reference, device, precision, batch)
        folder = reference.location if reference.local else _fetched(reference)
        return Clip(f"local-dir:{folder}", device, precision, batch)
    except ModuleNotFoundError as error:
        raise RequestError(f"{INSTALL.format(library, EXTRAS[library])} ({error})") from error


def _fetched(model: ModelReference) -> str:
    """Downloads a hub model at its revision; open_clip's `hf-hub:` would take the newest one."""
    from huggingface_hub import snapshot_download

    wanted = [f"*{suffix}" for suffix in sorted(CONTENT)]
    return snapshot_download(model.location, revision=model.revision, allow_patterns=wanted)
