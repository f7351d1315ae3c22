"""The small network that decides which of two copies is better; its weights are in a JSON file."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

MODEL_FILE = Path(__file__).with_name("model.json")
MODEL = hashlib.sha256(MODEL_FILE.read_bytes()).hexdigest()[:16]
# Prefix of terms that describe the pair, so that they keep their sign if the copies are swapped.
BOTH = "both_"


class Model(NamedTuple):
    """A network with T terms as inputs, H hidden units, and one output.

    Attributes:
        names: Names of the terms, in the order of the weights.
        middle, spread: float64[T] each; a term is standardised as (term - middle) / spread.
        sign: float64[T], the factor of a term if the copies are swapped: 1 or -1.
        inner, bias: Weights float64[H, T] and biases float64[H] of the hidden layer.
        outer: Weights from the hidden units to the output, float64[H].
        straight: Weights from the terms to the output, float64[T].
    """

    names: list[str]
    middle: np.ndarray
    spread: np.ndarray
    sign: np.ndarray
    inner: np.ndarray
    bias: np.ndarray
    outer: np.ndarray
    straight: np.ndarray


@cache
def the_model() -> Model:
    """Reads the network from its file."""
    content: dict[str, Any] = json.loads(MODEL_FILE.read_text())
    names = content["names"]
    sign = np.array([1.0 if name.startswith(BOTH) else -1.0 for name in names])
    arrays = {k: np.array(content[k]) for k in Model._fields if k not in ("names", "sign")}
    return Model(names, sign=sign, **arrays)
