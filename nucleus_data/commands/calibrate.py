"""`nucleus calibrate`: a map from raw cosines to probabilities, for `score.calibration`."""

from pathlib import Path

import click

from nucleus_data.commands.support import LocalPath, Number, common_options, opened, say


@click.command()
@click.option(
    "--model",
    default="main",
    show_default=True,
    help="Which embeddings to use: main for embed.model, or a name in embed.models.",
)
@click.option(
    "--pairs",
    type=LocalPath(dir_okay=False, path_type=Path),
    help="Labelled pairs, .csv or .parquet, with columns id (or key) and matched, and optionally "
    "similarity, to replace that of the stored embeddings. Without labels, mismatched pairs are "
    "made by shuffling captions.",
)
@click.option(
    "--prior",
    type=Number(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Prior probability that a caption matches its picture.",
)
@click.option(
    "--most",
    type=click.IntRange(1),
    default=20_000,
    show_default=True,
    help="Maximum number of records to draw for shuffled pairs.",
)
@click.option("--seed", default=0, show_default=True, help="Seed for drawing records.")
@click.option(
    "--out",
    type=LocalPath(dir_okay=False, path_type=Path),
    help="Output file, for score.calibration [default: calibration.json, calibration-MODEL.json].",
)
@common_options
def calibrate(
    model: str,
    pairs: Path | None,
    prior: float,
    most: int,
    seed: int,
    out: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Calibrate the similarity of picture and caption.

    Fits a map from raw cosine similarity to the probability that picture and caption match. Reads
    stored embeddings, no pictures. The page shows how well calibrated the result is.
    """
    from nucleus_data.views import calibrate as view

    name = "calibration.json" if model == "main" else f"calibration-{model}.json"
    with opened("calibrate", config, overrides) as found:
        for line in view.calibrate(
            found.run,
            found.stages["embed"],
            found.stages["dedup"],
            name=model,
            labels=pairs,
            prior=prior,
            most=most,
            seed=seed,
            out=out or Path(name),
        ):
            say(line)
