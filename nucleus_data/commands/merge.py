"""`nucleus merge`: one checkpoint out of several."""

from pathlib import Path

import click

from nucleus_data.commands.support import needing, say

KINDS = ("inverse_sqrt", "uniform", "one_minus_sqrt")


@click.command()
@click.argument(
    "checkpoints",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="CHECKPOINT...",
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="New folder."
)
@click.option(
    "--weights",
    "kind",
    type=click.Choice(KINDS),
    default="inverse_sqrt",
    show_default=True,
    help="inverse_sqrt: 1 / sqrt(k) for the k-th newest.",
)
@click.option("--weight", "given", type=float, multiple=True, help="Yours, one a checkpoint.")
def merge(checkpoints: tuple[Path, ...], out: Path, kind: str, given: tuple[float, ...]) -> None:
    """Merge checkpoints of one training, given oldest first, into one of the same format.

    One training is a run, and what it was extended to: more steps, or further phases.

    Each CHECKPOINT is a folder such as out/checkpoints/000600. The new one can be sampled from as
    they can: nucleus sample.
    """
    with needing("train"):
        from nucleus_model.checkpoints.merge import merge_checkpoints
    from nucleus_model.settings.schedule import merge_weights

    weights = list(given) or merge_weights(kind, len(checkpoints))
    if out.exists():
        raise click.UsageError(f"{out} is there already; name a new folder")
    try:
        merge_checkpoints(checkpoints, weights, out)
    except (ValueError, FileNotFoundError) as error:
        raise click.UsageError(str(error)) from None
    say(str(out))
