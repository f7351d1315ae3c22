"""`nucleus train-head`: trains a head for `score.heads` on your own ratings."""

from pathlib import Path
from typing import Any

import click

from nucleus_data.commands.support import LocalPath, common_options, opened, say


@click.command("train-head")
@click.argument("ratings", type=LocalPath(dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="Name of its score, for use in rules.")
@click.option(
    "--out",
    type=LocalPath(file_okay=False, path_type=Path),
    required=True,
    help="Folder for score.heads; the head is added to those already there.",
)
@click.option(
    "--model",
    default="main",
    show_default=True,
    help="Which embeddings to use: main for embed.model, or a name in embed.models.",
)
@click.option(
    "--kind",
    type=click.Choice(["value", "probability"]),
    default="value",
    show_default=True,
    help="Kind of ratings: any value, or a probability from 0 (no) to 1 (yes).",
)
@click.option(
    "--folds",
    type=click.IntRange(3, 50),
    default=5,
    show_default=True,
    help="Number of cross-validation folds.",
)
@click.option("--seed", default=0, show_default=True, help="Seed for assigning pictures to folds.")
@common_options
def train_head(config: Path | None, overrides: tuple[str, ...], **given: Any) -> None:
    """Train a head on ratings of a corpus's pictures.

    RATINGS is a .csv or .parquet file with columns id (or key), rating and optionally rater. Reads
    stored embeddings, no pictures. A card in the folder documents how good the head is.
    """
    from nucleus_data.views import train_head as view

    with opened("train-head", config, overrides) as found:
        stages = found.stages
        for line in view.train(found.run, stages["embed"], stages["dedup"], **given):
            say(line)
