"""The small network that says which of two copies is better, as a file; and its name."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

MODEL_FILE = Path(__file__).with_name("model.json")
MODEL = hashlib.sha256(MODEL_FILE.read_bytes()).hexdigest()[:16]
# How the names of terms begin that say the same of both copies.
BOTH = "both_"


class Model(NamedTuple):
    """The network over T terms with H hidden units.

    Attributes:
        names: Of the terms, in the order of the weights.
        middle, spread: (T,) what is taken from a term, and what it is divided by.
        sign: (T,) what a term is multiplied by when the copies are swapped.
        inner, bias: (H, T) and (H,), of the hidden layer.
        outer: (H,), from the hidden units to the number.
        straight: (T,), from the terms to the number.
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
    """The network of the file."""
    content: dict[str, Any] = json.loads(MODEL_FILE.read_text())
    names = content["names"]
    sign = np.array([1.0 if name.startswith(BOTH) else -1.0 for name in names])
    arrays = {k: np.array(content[k]) for k in Model._fields if k not in ("names", "sign")}
    return Model(names, sign=sign, **arrays)
