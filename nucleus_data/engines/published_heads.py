"""Converts published heads from their state dicts.

| style | published as | trained on the embeddings of |
|---|---|---|
| `laion_aesthetic` | improved-aesthetic-predictor, `*-linearMSE.pth` | OpenAI's ViT-L/14 |
| `laion_aesthetic_relu` | the same, `*-reluMSE.pth` | OpenAI's ViT-L/14 |
| `aesthetic_v2_5` | aesthetic-predictor-v2-5 | SigLIP so400m/14 at 384 |
| `clip_nsfw` | CLIP-based-NSFW-Detector, `clip_autokeras_binary_nsfw.pth` | OpenAI's ViT-L/14 |
| `clip_nsfw_h14` | CLIP-based-NSFW-Detector, `h14_nsfw.pth` | OpenCLIP's ViT-H/14 |

A state dict does not contain activations, so they are determined by the style. All of these heads
take unit vectors, as this project's heads do. Only tensors are read from a file: a pickle with
anything else is rejected, and no code in it runs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nucleus_data.engines.embedder import Vectors
from nucleus_data.engines.heads import Head, Kind, stacked
from nucleus_data.errors import RequestError


@dataclass(frozen=True)
class Style:
    """The parts of a published network that its tensors do not determine.

    Attributes:
        kind: Kind of the result.
        activation: Activation after each layer, except the last `plain` ones.
        plain: Number of layers at the end without an activation.
    """

    kind: Kind
    activation: str
    plain: int = 1


STYLES = {
    "laion_aesthetic": Style("value", "none"),
    "laion_aesthetic_relu": Style("value", "relu", plain=2),
    "aesthetic_v2_5": Style("value", "none"),
    "clip_nsfw": Style("probability", "relu"),
    "clip_nsfw_h14": Style("value", "relu", plain=2),
}
# Tensor of a layer that standardises its input: `variance` from Keras, `std` from ports.
_SPREADS = ("variance", "std")


def read_state(file: Path) -> dict[str, Vectors]:
    """Reads the tensors of a `.safetensors` file, or of a file saved by torch, as float32.

    Args:
        file: The file.

    Returns:
        Name -> tensor.

    Raises:
        RequestError: The file does not exist, is neither of these, or contains more than tensors;
            or torch is needed and not installed.
    """
    try:
        if file.suffix == ".safetensors":
            from safetensors.numpy import load_file

            tensors = load_file(file)
            return {name: value.astype(np.float32) for name, value in tensors.items()}
        import torch

        state = torch.load(file, map_location="cpu", weights_only=True)
        if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
            state = state["state_dict"]  # Lightning's format
        return {str(name): value.float().numpy() for name, value in state.items()}
    except FileNotFoundError:
        raise RequestError(f"{file} does not exist") from None
    except ModuleNotFoundError as error:
        raise RequestError(
            f"reading {file} needs torch; run: pip install 'nucleus-data[embed]' ({error})"
        ) from error
    except Exception as error:  # unpickling may raise any exception
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RequestError(
            f"{file} is not a state dict (a .safetensors file, or tensors saved by torch): {reason}"
        ) from error


def head_of(state: Mapping[str, Vectors], style: str) -> Head:
    """Converts a published state dict to a head.

    Args:
        state: Name -> tensor. Linear layers are ordered by the numbers in their names; a layer that
            standardises the input is folded into the first one.
        style: A key of `STYLES`.

    Raises:
        RequestError: A tensor is unknown or missing, or the layers do not fit together or do not
            end in one number.
    """
    about = STYLES[style]
    names = sorted((n for n in state if n.endswith(".weight")), key=_numbers)
    pairs = [(n, n.removesuffix("weight") + "bias") for n in names]
    known = {name for pair in pairs for name in pair}
    inputs = {n.rpartition(".")[2]: v.reshape(-1) for n, v in state.items() if n not in known}
    # `count` is Keras's number of batches, and `category_mapper` is a port's mapping of columns.
    unknown = sorted(set(inputs) - {"mean", *_SPREADS, "count", "category_mapper"})
    missing = sorted(known - set(state))
    if unknown or missing:
        raise RequestError(
            f"a head of style {style!r} consists of linear layers (NAME.weight and NAME.bias); "
            + "; ".join(
                [
                    *(f"{name!r} is unknown" for name in unknown),
                    *(f"{n!r} is missing" for n in missing),
                ]
            )
        )
    layers = [(state[weight], state[bias]) for weight, bias in pairs]
    if "mean" in inputs:
        layers[:1] = [_folded(layers[0], inputs)]
    last = min(about.plain, len(layers))
    activations = [about.activation] * (len(layers) - last) + ["none"] * last
    try:
        return Head(about.kind, stacked(layers, activations))
    except ValueError as error:
        raise RequestError(f"the tensors are not a head of style {style!r}: {error}") from error


def _numbers(name: str) -> list[int]:
    """Returns the numbers in a layer's name, as a sort key: `layers.10` follows `layers.2`."""
    return [int(number) for number in re.findall(r"\d+", name)]


def _folded(
    layer: tuple[Vectors, Vectors], inputs: Mapping[str, Vectors]
) -> tuple[Vectors, Vectors]:
    """Folds the standardisation (x - mean) / deviation of the input into a layer."""
    weight, bias = layer
    spread = np.sqrt(inputs["variance"]) if "variance" in inputs else inputs["std"]
    scaled = weight / np.maximum(spread, 1e-7)  # Keras's own floor
    return scaled, bias - scaled @ inputs["mean"]
