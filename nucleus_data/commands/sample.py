"""`nucleus sample` and `nucleus export-model`: use a checkpoint of the quick-train."""

from pathlib import Path
from typing import Any

import click

from nucleus_data.commands.support import LocalPath, Number, needing, refusing, say
from nucleus_data.errors import RequestError
from nucleus_data.sets.buckets import SIZES_1024

RATIOS = tuple(aspect.replace("x", ":") for aspect in SIZES_1024)
SOLVERS = ("euler", "unipc")  # of nucleus_model.sampling.solver, which would import torch
PRECISIONS = ("float32", "bfloat16")  # of nucleus_model.checkpoints.export too
GB = 1 << 30


@click.command()
@click.argument("checkpoint", type=LocalPath(exists=True, file_okay=False, path_type=Path))
@click.argument("prompts", nargs=-1, required=True, metavar="PROMPT...")
@click.option(
    "--seed",
    "seeds",
    type=click.IntRange(-(2**63), 2**64 - 1),
    multiple=True,
    default=(0,),
    help="Seed of one column; repeatable. The same as for a torch.Generator passed to diffusers.",
)
@click.option("--width", type=click.IntRange(1), help="Width in pixels; needs --height.")
@click.option("--height", type=click.IntRange(1), help="Height in pixels; needs --width.")
@click.option(
    "--aspect", type=click.Choice(RATIOS), help="Aspect ratio, width to height [default: 1:1]."
)
@click.option(
    "--resolution",
    type=click.IntRange(8),
    help="Side in pixels of the square with the same area [default: as trained].",
)
@click.option(
    "--steps", type=click.IntRange(1), default=50, show_default=True, help="Steps of the solver."
)
@click.option(
    "--solver",
    type=click.Choice(SOLVERS),
    default="euler",
    show_default=True,
    help="euler, as published; unipc gets as close with about half as many steps.",
)
@click.option(
    "--guidance",
    type=Number(1),
    default=4.0,
    show_default=True,
    help="Scale of classifier-free guidance; 1 turns it off.",
)
@click.option("--negative", default="", help="Negative prompt [default: the empty prompt].")
@click.option(
    "--batch",
    "batch_size",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Pictures to draw at once.",
)
@click.option("--device", default="cpu", show_default=True, help="Device to draw on, e.g. cuda.")
@click.option(
    "--out",
    type=LocalPath(file_okay=False, path_type=Path),
    default=Path("samples"),
    show_default=True,
    help="Output folder.",
)
def sample(checkpoint: Path, prompts: tuple[str, ...], out: Path, **options: Any) -> None:
    """Draw pictures from a checkpoint.

    CHECKPOINT is a folder such as corpus/runs/RUN/quick_train/checkpoints/000600, or a pipeline in
    diffusers' layout. Each picture is a PNG whose text chunk `parameters` says how it was made;
    samples.png is a grid with a row per PROMPT and a column per seed.
    """
    with needing("train"):
        from nucleus_model.sampling.draw import draw

    with refusing():
        for line in draw(checkpoint, prompts, out, **options):
            say(line)


@click.command("export-model")
@click.argument("checkpoint", type=LocalPath(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=LocalPath(file_okay=False, path_type=Path))
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float32",
    show_default=True,
    help="Precision of the transformer's weights.",
)
@click.option(
    "--shard-gb",
    type=Number(0, min_open=True),
    default=5.0,
    show_default=True,
    help="Maximum size of a weight file, in GiB.",
)
@click.option("--transformer-only", is_flag=True, help="Leave out text encoder, VAE and scheduler.")
def export_model(
    checkpoint: Path, out: Path, precision: str, shard_gb: float, transformer_only: bool
) -> None:
    """Export a checkpoint for diffusers.

    Writes CHECKPOINT to OUT, a new folder, in the layout of diffusers' NucleusMoEImagePipeline.
    """
    with needing("train"):
        from nucleus_model.checkpoints.export import export

    if out.exists() and any(out.iterdir()):
        raise RequestError(f"{out} is not empty; give a new folder")
    with refusing():
        arguments = export(
            checkpoint,
            out,
            precision=precision,
            shard_bytes=round(shard_gb * GB),
            transformer_only=transformer_only,
        )
    if not transformer_only:
        call = "".join(f", {name}={value!r}" for name, value in arguments.items())
        say(
            f"In Python: diffusers.NucleusMoEImagePipeline.from_pretrained({str(out)!r})"
            f"('a red square'{call}, height=..., width=...); {out / 'README.md'} has the full call"
        )
    say(out)
