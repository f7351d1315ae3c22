"""Embeds pictures and texts with a CLIP-like model of transformers (CLIPModel, SiglipModel...)."""

import inspect
import os
import threading
from collections.abc import Sequence
from typing import Any

from PIL import Image

from nucleus_data.engines.embedder import Pixels, Precision, TorchEmbedder, logit_of
from nucleus_data.engines.find import ModelReference
from nucleus_data.errors import RequestError

METHODS = ("get_image_features", "get_text_features")


class TransformersClip(TorchEmbedder):
    """A model loaded by `AutoModel` that has image and text features.

    Pictures are preprocessed by the Pillow version of the model's image processor. Such models are
    trained with it, and it does not start torch's threads in each preparing thread.

    Args:
        model: The model to load, from safetensors only.
        device: torch's name of the device.
        precision: Precision of the weights and layers.
        batch: Number of pictures or texts in a batch; None for `embedder.default_batch`.

    Raises:
        RequestError: The model has no image or text features.
    """

    def __init__(
        self,
        model: ModelReference,
        device: str = "cpu",
        precision: Precision = "fp32",
        batch: int | None = None,
    ) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import transformers

        super().__init__(device, precision, batch)
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        given = model.options()
        loaded = transformers.AutoModel.from_pretrained(
            model.location, dtype=self._type, use_safetensors=True, **given
        )
        lacking = [name for name in METHODS if not hasattr(loaded, name)]
        if lacking:
            raise RequestError(
                f"{model.name} is a {type(loaded).__name__}, which has no {', '.join(lacking)};"
                " use a model such as CLIPModel or SiglipModel"
            )
        self._model: Any = loaded.eval().to(device)
        self._processor: Any = transformers.AutoImageProcessor.from_pretrained(
            model.location, backend="pil", **given
        )
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(model.location, **given)
        # Fast tokenizers are not thread-safe; they raise "Already borrowed".
        self._tokenizing = threading.Lock()
        self._text_inputs = inspect.signature(self._model.get_text_features).parameters.keys()
        text_config = getattr(loaded.config, "text_config", loaded.config)
        self._context: int = text_config.max_position_embeddings
        height, width = self._pixel_values(Image.new("RGB", (64, 64))).shape[1:]
        self.sides = (height, width)
        self.logit = logit_of(loaded)
        self.width = 0
        self.width = self.texts([""]).shape[1]

    def prepare(self, picture: Image.Image, pixels: Pixels) -> None:
        """Writes a picture's preprocessed pixels to `pixels`."""
        pixels[:] = self._pixel_values(picture)

    def tokens(self, texts: Sequence[str]) -> Any:
        """Tokenizes a batch; texts that exceed the model's context are truncated."""
        with self._tokenizing:
            found = self._tokenizer(
                self._filled(texts),
                padding="max_length",
                truncation=True,
                max_length=self._context,
                return_tensors="pt",
            )
        return {name: found[name] for name in found if name in self._text_inputs}

    def start_images(self, pixels: Pixels) -> Any:
        """Starts to embed a whole batch."""
        with self._torch.inference_mode():
            return self._unit(self._model.get_image_features(pixel_values=self._pixels(pixels)))

    def start_texts(self, tokens: Any) -> Any:
        """Starts to embed a whole batch."""
        inputs = {name: values.to(self._device) for name, values in tokens.items()}
        with self._torch.inference_mode():
            return self._unit(self._model.get_text_features(**inputs))

    def _pixel_values(self, picture: Image.Image) -> Pixels:
        found = self._processor(images=picture, return_tensors="np")["pixel_values"]
        pixels: Pixels = found[0]
        return pixels

    def _unit(self, features: Any) -> Any:
        """Normalises features to length 1; newer releases of transformers return them wrapped."""
        found = getattr(features, "pooler_output", features)
        return self._torch.nn.functional.normalize(found, dim=-1)
