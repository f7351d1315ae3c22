"""Small networks on an image embedding: one number each, in numpy.

A head is any number of linear layers, each with or without an activation after it. A folder of
heads holds `heads.json` and `heads.safetensors`:

    {"model": "nano", "revision": "00f6c8e9e0e2",
     "heads": {"aesthetic": {"kind": "value", "activations": ["relu", "none"]}}}

`model` and `revision` are those of the embeddings that they were trained on; the layers' tensors
are `aesthetic.0.weight` (outputs, inputs), `aesthetic.0.bias`, `aesthetic.1.weight`, ... Instead of
an object, a kind alone stands for two layers, `NAME.0` and `NAME.2`, with a GELU between them.
`nucleus import-head` makes such a folder from published weights.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from safetensors.numpy import load_file, save

from nucleus_data.engines.embedder import Vectors
from nucleus_data.engines.find import HEADS, NANO, ModelReference
from nucleus_data.errors import RequestError

Kind = Literal["value", "probability"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DESCRIPTION, WEIGHTS = "heads.json", "heads.safetensors"


# A product of matrices rounds as its shape has it: every product has this many rows, so that the
# bits of a score don't depend on its company. What a layer gives then fits in a CPU's cache.
BLOCK = 256
_SQRT_2_PI = np.float32(np.sqrt(2 / np.pi))


def _gelu_tanh(x: Vectors) -> Vectors:
    """GELU in its tanh form (Hendrycks and Gimpel 2016)."""
    # As products: numpy's power of three takes a hundred times as long.
    inner = np.tanh(_SQRT_2_PI * (x + np.float32(0.044715) * (x * x * x)))
    return np.asarray(np.float32(0.5) * x * (1 + inner))


ACTIVATIONS: Mapping[str, Callable[[Vectors], Vectors]] = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "gelu_tanh": _gelu_tanh,
}


@dataclass(frozen=True)
class Layer:
    """A linear layer and what follows it.

    Attributes:
        weight: (O, I).
        bias: (O,).
        activation: A key of `ACTIVATIONS`.
    """

    weight: Vectors
    bias: Vectors
    activation: str = "none"


@dataclass(frozen=True)
class Head:
    """One head.

    Attributes:
        kind: `value` (as it is) or `probability` (through a sigmoid).
        layers: From the embedding to one number.
    """

    kind: Kind
    layers: tuple[Layer, ...]

    @property
    def width(self) -> int:
        """D, the length of a vector."""
        return int(self.layers[0].weight.shape[1])

    def score(self, vectors: Vectors) -> Vectors:
        """(N, D) unit vectors to (N,) scores; one's bits don't depend on the others."""
        count = len(vectors)
        scores = np.empty(count, np.float32)
        for start in range(0, count, BLOCK):
            block = vectors[start : start + BLOCK]
            if (lacking := BLOCK - len(block)) > 0:
                block = np.concatenate([block, np.zeros((lacking, block.shape[1]), np.float32)])
            scores[start : start + BLOCK] = self._block(block)[: count - start]
        return scores

    def _block(self, x: Vectors) -> Vectors:
        """(BLOCK, D) vectors to (BLOCK,) scores."""
        for layer in self.layers[:-1]:
            x = x @ layer.weight.T
            x += layer.bias
            x = ACTIVATIONS[layer.activation](x)
        last = self.layers[-1]
        # Each row by itself: a matrix times one vector is shared out among threads.
        out = ACTIVATIONS[last.activation](np.vecdot(x, last.weight[0]) + last.bias[0])
        if self.kind == "probability":
            return np.asarray(1 / (1 + np.exp(-np.clip(out, -60, 60))), dtype=np.float32)
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
                f"these heads were trained on the embeddings of {self.model!r}, revision "
                f"{self.revision!r}, and not on those of {model.name!r}, revision "
                f"{model.revision!r}. Their scores would mean nothing"
            )

    def scores(self, vectors: Vectors) -> dict[str, Vectors]:
        """Every head's score of (N, D) embeddings: name to (N,).

        Raises:
            ValueError: The embeddings have another width than the heads were trained on.
        """
        for name, head in self.heads.items():
            if vectors.ndim != 2 or vectors.shape[1] != head.width:
                raise ValueError(
                    f"head {name!r} needs embeddings of shape (N, {head.width}), got "
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
        described = json.loads((path / DESCRIPTION).read_text())
        tensors = {
            k: v.astype(np.float32, copy=False) for k, v in load_file(path / WEIGHTS).items()
        }
        heads = {name: _head(name, about, tensors) for name, about in described["heads"].items()}
        return Heads(described["model"], described["revision"], heads)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RequestError(
            f"{path} holds no heads ({DESCRIPTION} and {WEIGHTS}): {error!r}"
        ) from error


def save_heads(heads: Heads, folder: Path) -> None:
    """Writes a folder that `load_heads` reads.

    Args:
        heads: What is written.
        folder: Made if it is not there.
    """
    tensors: dict[str, Any] = {}
    for name, head in heads.heads.items():
        for i, layer in enumerate(head.layers):
            tensors[f"{name}.{i}.weight"] = np.ascontiguousarray(layer.weight, np.float32)
            tensors[f"{name}.{i}.bias"] = np.ascontiguousarray(layer.bias, np.float32)
    described = {
        "model": heads.model,
        "revision": heads.revision,
        "heads": {
            name: {"kind": head.kind, "activations": [layer.activation for layer in head.layers]}
            for name, head in heads.heads.items()
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    # By Python, whose files others may read as they may any new one: `save_file`'s are the owner's.
    (folder / WEIGHTS).write_bytes(save(tensors))
    (folder / DESCRIPTION).write_text(json.dumps(described, indent=2) + "\n")


def add_head(folder: Path, name: str, head: Head, model: ModelReference) -> Heads:
    """Adds a head to a folder, which is made if it is not there; returns what it holds then.

    Args:
        folder: Of heads on the same embeddings.
        name: The column's name that it gets.
        head: What is added.
        model: Whose embeddings it reads.

    Raises:
        RequestError: The name is taken or can't be a column's, or the folder's heads are on other
            embeddings.
    """
    heads = heads_beside(folder, name, head.width, model)
    heads.heads[name] = head
    save_heads(heads, folder)
    return heads


def heads_beside(folder: Path, name: str, width: int, model: ModelReference) -> Heads:
    """The heads of a folder to which one can be added; none where it is not there.

    Args:
        folder: Of heads on the same embeddings.
        name: The column's name that the new one would get.
        width: The length of the vectors that it reads.
        model: Whose vectors they are.

    Raises:
        RequestError: As `add_head`.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise RequestError(
            f"a head's name becomes a column: {name!r} is none; "
            "allowed: a letter, then letters, digits and _, all small"
        )
    heads = Heads(model.name, model.revision, {})
    if (folder / DESCRIPTION).exists():
        heads = load_heads(folder)
        heads.check(model)
    if name in heads.heads:
        raise RequestError(f"{folder} has a head {name!r} already; give another name or folder")
    widths = {other.width for other in heads.heads.values()} - {width}
    if widths:
        raise RequestError(
            f"{folder} has heads on vectors of {min(widths)} numbers, this one takes {width}"
        )
    return heads


def stacked(
    layers: Sequence[tuple[Vectors, Vectors]], activations: Sequence[str]
) -> tuple[Layer, ...]:
    """Layers that fit each other and end in one number.

    Args:
        layers: Weight (O, I) and bias (O,) of each.
        activations: What follows each.

    Raises:
        ValueError: They do not fit.
    """
    if not layers or len(layers) != len(activations):
        raise ValueError(f"{len(layers)} layers with {len(activations)} activations")
    for (weight, bias), activation in zip(layers, activations, strict=True):
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r}; allowed: {', '.join(ACTIVATIONS)}")
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise ValueError(f"a weight of shape {weight.shape} with a bias of {bias.shape}")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise ValueError("weights that are no finite numbers")
    sizes = [weight.shape for weight, _ in layers]
    for (outputs, _), (_, inputs) in pairwise(sizes):
        if outputs != inputs:
            raise ValueError(f"a layer of {outputs} outputs before one of {inputs} inputs")
    if sizes[-1][0] != 1:
        raise ValueError(f"{sizes[-1][0]} numbers at the end, not one")
    return tuple(Layer(*pair, name) for pair, name in zip(layers, activations, strict=True))


def _head(name: str, about: Any, tensors: Mapping[str, Vectors]) -> Head:
    """A head as it is described.

    Raises:
        KeyError, TypeError, ValueError: The description is none, or does not fit the tensors.
    """
    if isinstance(about, str):
        kind, activations, places = about, ["gelu_tanh", "none"], [0, 2]
    else:
        kind, activations = about["kind"], about["activations"]
        places = list(range(len(activations)))
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}; allowed: {', '.join(KINDS)}")
    pairs = [(tensors[f"{name}.{i}.weight"], tensors[f"{name}.{i}.bias"]) for i in places]
    return Head(kind, stacked(pairs, activations))
