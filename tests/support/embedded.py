"""A made-up embedding model and heads, for tests of what is around them."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

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


class FakeClip:
    """Vectors of mean colours, and of counts of letters; keeps what it was asked."""

    width = WIDTH

    def __init__(self, batch: int = 1) -> None:
        self.batch = batch
        self.images_asked: list[int] = []
        self.texts_asked: list[str] = []

    def images(self, images) -> np.ndarray:
        """(N, 4): mean colours and 1."""
        self.images_asked.append(len(images))
        means = [[*np.asarray(image).mean((0, 1)) / 255, 1] for image in images]
        return self._unit(means)

    def texts(self, texts) -> np.ndarray:
        """(N, 4): shares of three letters and 1."""
        self.texts_asked += texts
        return self._unit([[*(text.count(c) / 8 for c in "aeo"), 1] for text in texts])

    def _unit(self, rows) -> np.ndarray:
        vectors = np.array(rows, np.float32).reshape(-1, self.width)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
