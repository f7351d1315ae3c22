"""`nucleus train-head`: a head on ratings of one's own, for `score.heads`."""

from pathlib import Path
from typing import Any

import click

from nucleus_data.commands.support import common_options, opened, say


@click.command("train-head")
@click.argument("ratings", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="What rules will call its score.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for score.heads; a head is added to those that lie there.",
)
@click.option(
    "--model",
    default="main",
    show_default=True,
    help="Whose vectors: main for embed.model, or a name in embed.models.",
)
@click.option(
    "--kind",
    type=click.Choice(["value", "probability"]),
    default="value",
    show_default=True,
    help="probability: ratings are 0 (no) to 1 (yes).",
)
@click.option(
    "--folds",
    type=click.IntRange(3, 50),
    default=5,
    show_default=True,
    help="Parts that the pictures are cut into, to measure it on what it did not see.",
)
@click.option("--seed", default=0, show_default=True, help="Another one cuts otherwise.")
@common_options
def train_head(config: Path | None, overrides: tuple[str, ...], **given: Any) -> None:
    """Train a head on RATINGS (.csv or .parquet: id or key, rating; rater) of a corpus's pictures.

    Stored vectors are read, no picture. A card in the folder says what the head is worth.
    """
    from nucleus_data.views import train_head as view

    with opened("train-head", config, overrides) as found:
        stages = found.stages
        for line in view.train(found.run, stages["embed"], stages["dedup"], **given):
            say(line)
