"""Evaluates heads, small networks that map an image embedding to one number, in numpy.

A head has any number of linear layers, each optionally followed by an activation. A folder of heads
contains `heads.json` and `heads.safetensors`:

    {"model": "nano", "revision": "00f6c8e9e0e2",
     "heads": {"aesthetic": {"kind": "value", "activations": ["relu", "none"]}}}

`model` and `revision` identify the embedding model on which the heads were trained. The layers'
tensors are `aesthetic.0.weight` [outputs, inputs], `aesthetic.0.bias`, `aesthetic.1.weight`, ...
If a head is described by its kind alone instead of an object, it has two layers, `NAME.0` and
`NAME.2`, with a GELU between them. `nucleus import-head` makes such a folder from published
weights.
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


# The rounding of a matrix product depends on its shape. So every product has this number of rows,
# and the bits of a score don't depend on the other rows. A layer's output fits in a CPU's cache.
BLOCK = 256
_SQRT_2_PI = np.float32(np.sqrt(2 / np.pi))


def _gelu_tanh(x: Vectors) -> Vectors:
    """GELU in its tanh form (Hendrycks and Gimpel 2016)."""
    # As products, since numpy's power of three takes a hundred times as long.
    inner = np.tanh(_SQRT_2_PI * (x + np.float32(0.044715) * (x * x * x)))
    return np.asarray(np.float32(0.5) * x * (1 + inner))


ACTIVATIONS: Mapping[str, Callable[[Vectors], Vectors]] = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "gelu_tanh": _gelu_tanh,
}


@dataclass(frozen=True)
class Layer:
    """A linear layer and its activation.

    Attributes:
        weight: float32[O, I], for I inputs and O outputs.
        bias: float32[O].
        activation: Name of the activation, a key of `ACTIVATIONS`.
    """

    weight: Vectors
    bias: Vectors
    activation: str = "none"


@dataclass(frozen=True)
class Head:
    """A network that maps an embedding to one number.

    Attributes:
        kind: `value` (the last layer's output) or `probability` (its sigmoid).
        layers: The layers; the last has one output.
    """

    kind: Kind
    layers: tuple[Layer, ...]

    @property
    def width(self) -> int:
        """D, the dimension of the embeddings."""
        return int(self.layers[0].weight.shape[1])

    def score(self, vectors: Vectors) -> Vectors:
        """Scores unit vectors, float32[N, D] -> float32[N]; rows don't affect each other's bits."""
        count = len(vectors)
        scores = np.empty(count, np.float32)
        for start in range(0, count, BLOCK):
            block = vectors[start : start + BLOCK]
            if (lacking := BLOCK - len(block)) > 0:
                block = np.concatenate([block, np.zeros((lacking, block.shape[1]), np.float32)])
            scores[start : start + BLOCK] = self._block(block)[: count - start]
        return scores

    def _block(self, x: Vectors) -> Vectors:
        """Scores one block: float32[BLOCK, D] -> float32[BLOCK]."""
        for layer in self.layers[:-1]:
            x = x @ layer.weight.T
            x += layer.bias
            x = ACTIVATIONS[layer.activation](x)
        last = self.layers[-1]
        # Row by row, as numpy would split the product of a matrix and a vector among threads.
        out = ACTIVATIONS[last.activation](np.vecdot(x, last.weight[0]) + last.bias[0])
        if self.kind == "probability":
            return np.asarray(1 / (1 + np.exp(-np.clip(out, -60, 60))), dtype=np.float32)
        return np.asarray(out, dtype=np.float32)


@dataclass(frozen=True)
class Heads:
    """The heads in one folder.

    Attributes:
        model: Name of the embedding model on which they were trained.
        revision: Revision of that model.
        heads: Name -> head.
    """

    model: str
    revision: str
    heads: dict[str, Head]

    def check(self, model: ModelReference) -> None:
        """Rejects embeddings of a model on which the heads were not trained.

        Raises:
            RequestError: It is another model or another revision.
        """
        if self.revision != model.revision:
            raise RequestError(
                f"these heads were trained on the embeddings of {self.model!r}, revision "
                f"{self.revision!r}, not on those of {model.name!r}, revision "
                f"{model.revision!r}; their scores would be meaningless"
            )

    def scores(self, vectors: Vectors) -> dict[str, Vectors]:
        """Scores unit vectors, float32[N, D], with every head: name -> scores, float32[N].

        Raises:
            ValueError: The embeddings do not have the dimension on which the heads were trained.
        """
        for name, head in self.heads.items():
            if vectors.ndim != 2 or vectors.shape[1] != head.width:
                raise ValueError(
                    f"head {name!r} needs embeddings of shape (N, {head.width}), got "
                    f"{vectors.shape}; it was trained on {self.model!r}"
                )
        return {name: head.score(vectors) for name, head in self.heads.items()}


def load_heads(folder: str | Path = NANO) -> Heads:
    """Loads the heads of a folder.

    Args:
        folder: Has `heads.json` and `heads.safetensors`; `nano` stands for the packaged heads.

    Raises:
        RequestError: A file is missing or damaged, or the files do not match.
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
            f"{path} has no valid heads ({DESCRIPTION} and {WEIGHTS}): {error!r}"
        ) from error


def save_heads(heads: Heads, folder: Path) -> None:
    """Writes heads to a folder, for `load_heads`.

    Args:
        heads: The heads.
        folder: The folder, which is created if necessary.
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
    # Not with `save_file`, whose files only the owner may read; these have the usual permissions.
    (folder / WEIGHTS).write_bytes(save(tensors))
    (folder / DESCRIPTION).write_text(json.dumps(described, indent=2) + "\n")


def add_head(folder: Path, name: str, head: Head, model: ModelReference) -> Heads:
    """Adds a head to a folder, which is created if necessary; returns all heads of the folder.

    Args:
        folder: The folder; its heads must use the same embeddings.
        name: Name of the head, and of its column.
        head: The head to add.
        model: The embedding model on which the head was trained.

    Raises:
        RequestError: The name is taken or is not a valid column name, or the folder's heads use
            other embeddings.
    """
    heads = heads_beside(folder, name, head.width, model)
    heads.heads[name] = head
    save_heads(heads, folder)
    return heads


def heads_beside(folder: Path, name: str, width: int, model: ModelReference) -> Heads:
    """Returns the heads of a folder, after checking that another one can be added.

    Args:
        folder: The folder; if it does not exist, the result has no heads.
        name: Name of the new head.
        width: Dimension of the embeddings that the new head reads.
        model: The embedding model on which the new head was trained.

    Raises:
        RequestError: As for `add_head`.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise RequestError(
            f"{name!r} can't be the name of a head, which becomes a column; "
            "allowed: a letter, then letters, digits and _, all lower case"
        )
    heads = Heads(model.name, model.revision, {})
    if (folder / DESCRIPTION).exists():
        heads = load_heads(folder)
        heads.check(model)
    if name in heads.heads:
        raise RequestError(f"{folder} already has a head {name!r}; give another name or folder")
    widths = {other.width for other in heads.heads.values()} - {width}
    if widths:
        raise RequestError(
            f"{folder} has heads for vectors of {min(widths)} numbers, but this one takes {width}"
        )
    return heads


def stacked(
    layers: Sequence[tuple[Vectors, Vectors]], activations: Sequence[str]
) -> tuple[Layer, ...]:
    """Makes the layers of a head, after checking that they fit together and end in one number.

    Args:
        layers: Weight, float32[O, I], and bias, float32[O], of each layer.
        activations: Activation after each layer, a key of `ACTIVATIONS`.

    Raises:
        ValueError: The layers do not fit together or are not finite, or an activation is unknown.
    """
    if not layers or len(layers) != len(activations):
        raise ValueError(f"{len(layers)} layers, but {len(activations)} activations")
    for (weight, bias), activation in zip(layers, activations, strict=True):
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"unknown activation {activation!r}; allowed: {', '.join(ACTIVATIONS)}"
            )
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise ValueError(f"a weight of shape {weight.shape} has a bias of shape {bias.shape}")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise ValueError("some weights are not finite numbers")
    sizes = [weight.shape for weight, _ in layers]
    for (outputs, _), (_, inputs) in pairwise(sizes):
        if outputs != inputs:
            raise ValueError(f"a layer with {outputs} outputs precedes one with {inputs} inputs")
    if sizes[-1][0] != 1:
        raise ValueError(f"the last layer has {sizes[-1][0]} outputs, not one")
    return tuple(Layer(*pair, name) for pair, name in zip(layers, activations, strict=True))


def _head(name: str, about: Any, tensors: Mapping[str, Vectors]) -> Head:
    """Makes a head from its entry in `heads.json` and the tensors.

    Raises:
        KeyError, TypeError, ValueError: The entry is malformed or does not match the tensors.
    """
    if isinstance(about, str):
        kind, activations, places = about, ["gelu_tanh", "none"], [0, 2]
    else:
        kind, activations = about["kind"], about["activations"]
        places = list(range(len(activations)))
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; allowed: {', '.join(KINDS)}")
    pairs = [(tensors[f"{name}.{i}.weight"], tensors[f"{name}.{i}.bias"]) for i in places]
    return Head(kind, stacked(pairs, activations))
