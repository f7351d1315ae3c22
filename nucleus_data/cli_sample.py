"""`nucleus sample`: pictures from a checkpoint of the quick-train."""

from pathlib import Path
from typing import Any

import click

RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("prompts", nargs=-1, required=True, metavar="PROMPT...")
@click.option("--seed", "seeds", type=int, multiple=True, default=(0,), help="Column; repeatable.")
@click.option("--aspect", type=click.Choice(RATIOS), default="1:1", show_default=True)
@click.option(
    "--resolution", type=click.IntRange(8), help="Side of a square of as many pixels. [as trained]"
)
@click.option("--steps", type=click.IntRange(1), default=50, show_default=True, help="Euler steps.")
@click.option("--guidance", type=click.FloatRange(1), default=4.0, show_default=True)
@click.option("--negative", default="", help="What guidance leads away from; the empty prompt.")
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("samples"),
    show_default=True,
    help="Folder.",
)
def sample(checkpoint: Path, prompts: tuple[str, ...], out: Path, **options: Any) -> None:
    """Draw pictures: a row of the grid for each PROMPT, a column for each seed.

    CHECKPOINT is a folder such as corpus/runs/RUN/quick_train/checkpoints/000600. Each picture is a
    PNG whose text chunk `parameters` says how it was made; samples.png is the grid.
    """
    from nucleus_model.draw import draw

    try:
        for line in draw(checkpoint, prompts, out, **options):
            click.echo(line)
    except (ValueError, FileNotFoundError) as error:
        raise click.UsageError(str(error)) from None
