"""Draws pictures from a checkpoint or a pipeline, and writes them to files.

files = list(draw(Path("out/checkpoints/000600"), ["a red square"], Path("drawn"), seeds=(0, 1)))
"""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np

from nucleus_data.printed import has_surrogate
from nucleus_data.sets.buckets import bucket_size
from nucleus_model.checkpoints.saved import load_saved
from nucleus_model.sampling.pictures import write_grid, write_png
from nucleus_model.sampling.sample import sample_images, shapes


def draw(
    folder: Path,
    prompts: Sequence[str],
    out: Path,
    *,
    seeds: Sequence[int] = (0,),
    aspect: str | None = None,
    resolution: int | None = None,
    width: int | None = None,
    height: int | None = None,
    steps: int = 50,
    solver: str = "euler",
    guidance: float = 4.0,
    negative: str = "",
    batch_size: int = 8,
    device: str = "cpu",
) -> Iterator[str]:
    """Writes a PNG for each prompt and seed, and a grid of them all.

    Args:
        folder: Folder of a checkpoint or of a pipeline.
        prompts: The prompts, one per row of the grid.
        out: Folder for the files; existing files of the same names are replaced.
        seeds: The seeds, one per column of the grid.
        aspect: Width to height, such as 16:9: one of the seven aspect ratios of training sets. The
            default is 1:1.
        resolution: Side, in pixels, of a square with the same area; by default, that of the
            training.
        width: Width in pixels; together with `height`, instead of aspect and resolution.
        height: Height in pixels.
        steps: Number of steps of the solver.
        solver: A key of `nucleus_model.sampling.solver.SOLVERS`.
        guidance: Scale of the guidance; 1 is none.
        negative: The negative prompt of the guidance.
        batch_size: Pictures per batch, of any prompts.
        device: The torch device.

    Yields:
        Each file's path once it is written, with the grid's path last.

    Raises:
        RequestError: The folder is neither a checkpoint nor a pipeline, or a model that it names
            does not exist.
        ValueError: The checkpoint has another format, the model can't draw the size, or a prompt is
            not valid text.
    """
    sized = [side for side in (width, height) if side is not None]
    if len(sized) == 1 or (sized and (aspect, resolution) != (None, None)):
        raise ValueError(
            "give the size as width and height, or as aspect and resolution; got width "
            f"{width}, height {height}, aspect {aspect}, resolution {resolution}"
        )
    for prompt in (*prompts, negative):
        if has_surrogate(prompt):
            raise ValueError(f"the prompt {prompt!r} is not valid UTF-8")
    saved = load_saved(folder, device)
    if width is None or height is None:
        ratio = (aspect or "1:1").replace(":", "x")
        width, height = bucket_size(resolution or saved.resolution, ratio, saved.multiple)
    shapes(saved.model, saved.codec, width, height)  # checks the size before `out` is created
    out.mkdir(parents=True, exist_ok=True)
    facts = {
        "steps": steps,
        "solver": solver,
        "guidance": guidance,
        "negative": negative,
        "width": width,
        "height": height,
        "checkpoint": saved.name,
    }
    # Batches mix prompts and seeds, so that a few prompts with many seeds fill them, too.
    cells = list(product(range(len(prompts)), seeds))
    pictures: list[np.ndarray] = []
    for start in range(0, len(cells), batch_size):
        part = cells[start : start + batch_size]
        images = sample_images(
            saved.model,
            saved.text,
            saved.codec,
            [prompts[row] for row, _ in part],
            [seed for _, seed in part],
            width=width,
            height=height,
            negative=negative,
            steps=steps,
            guidance=guidance,
            solver=solver,
            batch_size=batch_size,
        )
        for (row, seed), image in zip(part, images, strict=True):
            file = out / f"{row:04d}-{seed}.png"
            write_png(file, image, {"prompt": prompts[row], "seed": seed, **facts})
            yield str(file)
        pictures += list(images)
    # `product` iterates over the seeds of a prompt first.
    grid = np.stack(pictures).reshape(len(prompts), len(seeds), height, width, 3)
    write_grid(out, grid, prompts, seeds, **facts)
    yield str(out / "samples.png")
