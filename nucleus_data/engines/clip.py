"""An open_clip model: images to unit vectors, texts to unit vectors (`embedder`)."""

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
    """A loaded model.

    Args:
        name: What open_clip calls it, for example `local-dir:FOLDER`.
        device: torch's name of the device that it runs on.
        precision: Precision of its weights and layers.
        batch: Pictures or texts that are embedded at once; by default the device's.
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
        # Fast tokenizers refuse ("Already borrowed") what two threads ask at once.
        self._tokenizing = threading.Lock()
        self.logit = logit_of(model)
        self.width = 0
        self.width = self.texts([""]).shape[1]

    def prepare(self, picture: Image.Image, pixels: Pixels) -> None:
        """Makes the pixels of a picture."""
        self._prepare(picture, pixels)

    def tokens(self, texts: Sequence[str]) -> Any:
        """Makes the tokens of a batch; what is longer than the model's context is cut."""
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
    """A transform of torchvision that fills an array; and height and width of its result."""
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
    """Loads a model.

    Args:
        model: `nano` (the packaged one, for synthetic scenes), a folder with
            `open_clip_config.json`, or what `resolve_model` made of a hub name.
        device: As torch names it.
        precision: Precision of its weights and layers.
        library: `open_clip` or `transformers`: which of them made the model's files.
        batch: Pictures or texts that are embedded at once; by default the device's.

    Returns:
        The model.

    Raises:
        RequestError: The library is missing, or the folder is no model.
    """
    found = model if isinstance(model, ModelReference) else resolve_model(model, None, CLIP)
    try:
        if library == "transformers":
            from nucleus_data.engines.clip_transformers import TransformersClip

            return TransformersClip(found, device, precision, batch)
        folder = found.location if found.local else _fetched(found)
        return Clip(f"local-dir:{folder}", device, precision, batch)
    except ModuleNotFoundError as error:
        raise RequestError(f"{INSTALL.format(library, EXTRAS[library])} ({error})") from error


def _fetched(model: ModelReference) -> str:
    """A hub model's files at its revision; open_clip's own `hf-hub:` would take the newest ones."""
    from huggingface_hub import snapshot_download

    wanted = [f"*{suffix}" for suffix in sorted(CONTENT)]
    return snapshot_download(model.location, revision=model.revision, allow_patterns=wanted)
