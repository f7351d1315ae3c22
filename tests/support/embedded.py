"""A made-up embedding model and heads, for tests of what is around them."""

import json
import threading
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from nucleus_data.engines.embedder import Embedder
from nucleus_data.engines.find import CLIP, resolve_model

WIDTH = 4


def heads_folder(folder: Path, width: int = WIDTH, revision: str = "") -> dict[str, np.ndarray]:
    """Two heads with random weights, `a` (a value) and `b` (a probability); their tensors."""
    rng = np.random.default_rng(0)
    tensors = {}
    for name in ("a", "b"):
        tensors[f"{name}.0.weight"] = rng.standard_normal((3, width)).astype(np.float32)
        tensors[f"{name}.0.bias"] = rng.standard_normal(3).astype(np.float32)
        tensors[f"{name}.2.weight"] = rng.standard_normal((1, 3)).astype(np.float32)
        tensors[f"{name}.2.bias"] = rng.standard_normal(1).astype(np.float32)
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "heads.safetensors")
    described = {
        "model": "some clip",
        "revision": revision,
        "heads": {"a": "value", "b": "probability"},
    }
    (folder / "heads.json").write_text(json.dumps(described))
    return tensors


def model_folder(folder: Path) -> str:
    """A folder that looks like a model; its revision."""
    folder.mkdir(exist_ok=True)
    (folder / "open_clip_config.json").write_text("{}")
    save_file({"x": np.zeros(1, np.float32)}, folder / "open_clip_model.safetensors")
    return resolve_model(str(folder), None, CLIP).revision


class FakeClip(Embedder):
    """Vectors of mean colours, and of counts of letters; keeps what it was asked."""

    width = WIDTH
    sides = (8, 8)
    logit = (10.0, -5.0)

    def __init__(self, batch: int = 1) -> None:
        self.batch = batch
        self.prepared = 0
        self.batches = 0
        self.texts_asked: list[str] = []
        self._lock = threading.Lock()

    def prepare(self, picture, pixels) -> None:
        """Its mean colour everywhere."""
        with self._lock:
            self.prepared += 1
        pixels[:] = np.asarray(picture).mean((0, 1)).reshape(3, 1, 1) / 255

    def tokens(self, texts) -> list[str]:
        """The texts."""
        with self._lock:
            self.texts_asked += texts
        return self._filled(texts)

    def start_images(self, pixels) -> np.ndarray:
        """(N, 4): mean colours and 1."""
        assert len(pixels) == self.batch
        self.batches += 1
        return self._unit([[*each[:, 0, 0], 1] for each in pixels])

    def start_texts(self, tokens) -> np.ndarray:
        """(N, 4): shares of three letters and 1."""
        assert len(tokens) == self.batch
        return self._unit([[*(text.count(c) / 8 for c in "aeo"), 1] for text in tokens])

    def finish(self, started) -> np.ndarray:
        """It is done already."""
        return started

    def _unit(self, rows) -> np.ndarray:
        vectors = np.array(rows, np.float32).reshape(-1, self.width)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
