"""Small networks on an image embedding: one number each, in numpy.

A head is two linear layers with a GELU (tanh form, Hendrycks and Gimpel 2016) between them; its
folder holds `heads.json` (names, kinds, and name and revision of the embedding model that they were
trained on) and `heads.safetensors`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from nucleus_data.engines.clip import Vectors
from nucleus_data.engines.find import HEADS, NANO, ModelReference
from nucleus_data.errors import RequestError


@dataclass(frozen=True)
class Head:
    """One head.

    Attributes:
        kind: `value` (as it is) or `probability` (through a sigmoid).
        first: (H, D) weight of the hidden layer.
        first_bias: (H,).
        second: (H,) weight of the output.
        second_bias: Bias of the output, one number.
    """

    kind: str
    first: Vectors
    first_bias: Vectors
    second: Vectors
    second_bias: float

    def score(self, vectors: Vectors) -> Vectors:
        """(N, D) unit vectors to (N,) scores."""
        x = vectors @ self.first.T + self.first_bias
        hidden = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
        out = hidden @ self.second + self.second_bias
        if self.kind == "probability":
            out = 1 / (1 + np.exp(-np.clip(out, -60, 60)))
        return np.asarray(out, dtype=np.float32)


@dataclass(frozen=True)
class Heads:
    """All heads of one folder.

    Attributes:
        model: Name of the embedding model that they were trained on.
        revision: Its revision.
        heads: By name.
    """

    model: str
    revision: str
    heads: dict[str, Head]

    def check(self, model: ModelReference) -> None:
        """Refuses embeddings of a model that the heads were not trained on.

        Raises:
            RequestError: It is another model, or another revision of it.
        """
        if self.revision != model.revision:
            raise RequestError(
                f"embed.heads were trained on the embeddings of {self.model!r}, revision "
                f"{self.revision!r}; embed.model is {model.name!r}, revision {model.revision!r}. "
                "Their scores would mean nothing: train heads on this model, or set "
                "embed.heads=null"
            )

    def scores(self, vectors: Vectors) -> dict[str, Vectors]:
        """Every head's score of (N, D) embeddings: name to (N,).

        Raises:
            ValueError: The embeddings have another width than the heads were trained on.
        """
        for name, head in self.heads.items():
            if vectors.ndim != 2 or vectors.shape[1] != head.first.shape[1]:
                raise ValueError(
                    f"head {name!r} needs embeddings of shape (N, {head.first.shape[1]}), got "
                    f"{vectors.shape}; it was trained on {self.model!r}"
                )
        return {name: head.score(vectors) for name, head in self.heads.items()}


def load_heads(folder: str | Path = NANO) -> Heads:
    """Loads heads.

    Args:
        folder: With `heads.json` and `heads.safetensors`, or `nano` for the packaged ones.

    Raises:
        RequestError: A file is missing or does not fit the other.
    """
    path = HEADS.nano if str(folder) == NANO else Path(folder).expanduser()
    try:
        described = json.loads((path / "heads.json").read_text())
        tensors = {
            k: v.astype(np.float32) for k, v in load_file(path / "heads.safetensors").items()
        }
        heads = {
            name: Head(
                kind,
                tensors[f"{name}.0.weight"],
                tensors[f"{name}.0.bias"],
                tensors[f"{name}.2.weight"][0],
                float(tensors[f"{name}.2.bias"][0]),
            )
            for name, kind in described["heads"].items()
        }
        return Heads(described["model"], described["revision"], heads)
    except (OSError, KeyError, ValueError) as error:
        raise RequestError(
            f"{path} holds no heads (heads.json and heads.safetensors): {error!r}"
        ) from error
