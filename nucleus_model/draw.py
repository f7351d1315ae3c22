"""Pictures from a checkpoint of the quick-train, as files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nucleus_model.checkpoint import load_checkpoint
from nucleus_model.codec import load_codec
from nucleus_model.pictures import write_grid, write_png
from nucleus_model.sample import sample_images
from nucleus_model.settings import QuickTrainSettings
from nucleus_model.text import TextEncoder

# Width and height of each aspect ratio at 1024, as published.
SIZES = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "9:16": (768, 1344),
    "4:3": (1184, 896),
    "3:4": (896, 1184),
    "3:2": (1248, 832),
    "2:3": (832, 1248),
}


def size_of(aspect: str, resolution: int, multiple: int) -> tuple[int, int]:
    """Width and height of an aspect ratio with about resolution^2 pixels.

    Args:
        aspect: A key of `SIZES`; at 1024 its size is the published one.
        resolution: Side of the square with as many pixels.
        multiple: What both sides are a multiple of.
    """
    width, height = (
        max(multiple, round(side * resolution / 1024 / multiple) * multiple)
        for side in SIZES[aspect]
    )
    return width, height


def draw(
    checkpoint: Path,
    prompts: Sequence[str],
    out: Path,
    *,
    seeds: Sequence[int] = (0,),
    aspect: str = "1:1",
    resolution: int | None = None,
    steps: int = 50,
    guidance: float = 4.0,
    negative: str = "",
    device: str = "cpu",
) -> Iterator[str]:
    """Writes a PNG for each prompt and seed, and a grid of them all.

    Args:
        checkpoint: Folder of a checkpoint.
        prompts: A row each.
        out: Folder for the files; files of the same names are replaced.
        seeds: A column each.
        aspect: A key of `SIZES`.
        resolution: Side of a square with as many pixels; by default what it was trained at.
        steps: Euler steps.
        guidance: Its scale; 1 is none.
        negative: What guidance leads away from.
        device: Where it runs.

    Yields:
        Each file's path when it is written, the grid's last.

    Raises:
        FileNotFoundError: There is no checkpoint.
        ValueError: It has another format.
    """
    model, record = load_checkpoint(checkpoint)
    settings = QuickTrainSettings.model_validate({**record["settings"], "device": device})
    codec = load_codec(settings)
    text = TextEncoder(settings.text, device)
    multiple = codec.factor * model.config.patch_size
    width, height = size_of(aspect, resolution or record["resolution"], multiple)
    out.mkdir(parents=True, exist_ok=True)
    model = model.to(device)
    facts = {
        "steps": steps,
        "guidance": guidance,
        "negative": negative,
        "width": width,
        "height": height,
        "checkpoint": checkpoint.name,
    }
    rows = []
    for row, prompt in enumerate(prompts):
        images = sample_images(
            model,
            text,
            codec,
            [prompt] * len(seeds),
            seeds,
            width=width,
            height=height,
            negative=negative,
            steps=steps,
            guidance=guidance,
        )
        for image, seed in zip(images, seeds, strict=True):
            file = out / f"{row:04d}-{seed}.png"
            write_png(file, image, {"prompt": prompt, "seed": seed, **facts})
            yield str(file)
        rows.append(images)
    write_grid(out, np.stack(rows), prompts, seeds, **facts)
    yield str(out / "samples.png")
