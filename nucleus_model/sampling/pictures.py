"""Writes samples to files: PNGs that contain their parameters, and grids of samples."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

PADDING = 2
BACKGROUND = 255
KEY = "parameters"


def write_png(file: Path, image: np.ndarray, parameters: Mapping[str, Any]) -> None:
    """Writes an image with its parameters as JSON in the text chunk `parameters`.

    Args:
        file: The file's path.
        image: The image, uint8 (height, width, 3).
        parameters: JSON-able parameters: prompt, seed, steps and so on.
    """
    info = PngInfo()
    info.add_itxt(KEY, json.dumps(parameters, ensure_ascii=False, sort_keys=True))
    Image.fromarray(image).save(file, format="PNG", pnginfo=info)


def read_parameters(file: Path) -> dict[str, Any]:
    """Reads the parameters that `write_png` wrote beside the image.

    Args:
        file: A PNG.

    Raises:
        ValueError: The file has no such chunk.
    """
    with Image.open(file) as image:
        text = getattr(image, "text", {}).get(KEY)
    if text is None:
        raise ValueError(f"{file} has no text chunk {KEY!r}; it was not written by write_png")
    parameters: dict[str, Any] = json.loads(text)
    return parameters


def tile(images: np.ndarray) -> np.ndarray:
    """Tiles images into one picture, with a white border of 2 pixels around each cell.

    Args:
        images: Images, uint8 (rows, columns, height, width, 3).

    Returns:
        The picture, uint8 (height, width, 3).
    """
    rows, columns, height, width, _ = images.shape
    step_y, step_x = height + PADDING, width + PADDING
    shape = (rows * step_y + PADDING, columns * step_x + PADDING, 3)
    canvas = np.full(shape, BACKGROUND, np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = PADDING + row * step_y, PADDING + column * step_x
            canvas[top : top + height, left : left + width] = images[row, column]
    return canvas


def write_grid(
    folder: Path, images: np.ndarray, prompts: Sequence[str], seeds: Sequence[int], **facts: Any
) -> None:
    """Writes `samples.png` and `samples.json`.

    Args:
        folder: The folder to write to.
        images: Images, uint8 (prompts, seeds, height, width, 3), as `sample_grid` returns them.
        prompts: The prompt of each row.
        seeds: The seed of each column.
        facts: Further content of the JSON (steps, guidance).
    """
    record = {
        "file": "samples.png",
        "rows": list(prompts),
        "columns": list(seeds),
        "cell_height": images.shape[2],
        "cell_width": images.shape[3],
        "padding": PADDING,
        **facts,
    }
    write_png(folder / "samples.png", tile(images), record)
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    (folder / "samples.json").write_text(text, encoding="utf-8")
