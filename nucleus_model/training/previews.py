"""Draws grids of samples, during and at the end of a training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nucleus_model.data.phase_data import PhaseData
from nucleus_model.encoders.codec import Codec
from nucleus_model.encoders.text import TextEncoder
from nucleus_model.network.transformer import NucleusTransformer
from nucleus_model.sampling.pictures import tile, write_grid, write_png
from nucleus_model.sampling.sample import sample_grid
from nucleus_model.settings.settings import QuickTrainSettings


@dataclass(frozen=True)
class Previews:
    """Drawn samples, and how they were drawn.

    Attributes:
        images: Images, uint8 (prompts, seeds, height, width, 3).
        prompts: The prompt of each row.
        settings: The run's settings, with the seeds.
    """

    images: np.ndarray
    prompts: tuple[str, ...]
    settings: QuickTrainSettings

    def write(self, folder: Path) -> None:
        """Writes `samples.png` and `samples.json`."""
        facts = {"steps": self.settings.sample_steps, "guidance": self.settings.guidance}
        write_grid(folder, self.images, self.prompts, self.settings.sample_seeds, **facts)

    def write_sheet(self, file: Path, step: int) -> None:
        """Writes a grid during training, as a PNG that names the training step."""
        file.parent.mkdir(exist_ok=True)
        facts = {"step": step, "rows": self.prompts, "columns": self.settings.sample_seeds}
        write_png(file, tile(self.images), facts)


def draw_previews(
    model: NucleusTransformer,
    text: TextEncoder,
    codec: Codec,
    data: PhaseData,
    settings: QuickTrainSettings,
) -> Previews:
    """Draws samples of the size of the largest aspect bucket.

    The prompts are those of the settings, or else captions of the data.

    Args:
        model: The transformer (if it is sharded, all processes must call).
        text: The text encoder.
        codec: The codec.
        data: Data of the phase, for the bucket and the captions.
        settings: Prompts or number of rows, seeds, steps, guidance.
    """
    # Always in the same order, so that the grids of all steps have the same rows.
    prompts = settings.sample_prompts or data.examples(settings.sample_rows) or ("",)
    # A single bucket, as all cells of a grid have the same size.
    width, height = data.fullest_bucket()
    images = sample_grid(
        model,
        text,
        codec,
        prompts,
        settings.sample_seeds,
        width=width,
        height=height,
        steps=settings.sample_steps,
        guidance=settings.guidance,
    )
    return Previews(images, tuple(prompts), settings)
