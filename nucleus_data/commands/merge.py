"""`nucleus merge`: merges several checkpoints into one."""

from pathlib import Path

import click

from nucleus_data.commands.support import LocalPath, needing, say

KINDS = ("inverse_sqrt", "uniform", "one_minus_sqrt")


@click.command()
@click.argument(
    "checkpoints",
    nargs=-1,
    required=True,
    type=LocalPath(exists=True, file_okay=False, path_type=Path),
    metavar="CHECKPOINT...",
)
@click.option(
    "--out", type=LocalPath(file_okay=False, path_type=Path), required=True, help="New folder."
)
@click.option(
    "--weights",
    "kind",
    type=click.Choice(KINDS),
    default="inverse_sqrt",
    show_default=True,
    help="Weighting scheme; inverse_sqrt is 1 / sqrt(k) for the k-th newest checkpoint.",
)
@click.option(
    "--weight",
    "given",
    type=float,
    multiple=True,
    help="Explicit weight; give one per checkpoint, in their order.",
)
def merge(checkpoints: tuple[Path, ...], out: Path, kind: str, given: tuple[float, ...]) -> None:
    """Merge checkpoints of one training into a new one.

    Each CHECKPOINT is a folder such as out/checkpoints/000600; give the oldest first. All must come
    from one training, which may have been extended by more steps or further phases. `nucleus
    sample` accepts the merged checkpoint like any other.
    """
    with needing("train"):
        from nucleus_model.checkpoints.merge import merge_checkpoints
    from nucleus_model.settings.schedule import merge_weights

    weights = list(given) or merge_weights(kind, len(checkpoints))
    if out.exists():
        raise click.UsageError(f"{out} already exists; give a new folder")
    try:
        merge_checkpoints(checkpoints, weights, out)
    except (FileNotFoundError, FileExistsError, NotADirectoryError, PermissionError) as error:
        reason = (error.strerror or str(error)).lower()
        raise click.UsageError(f"{error.filename or out}: {reason}") from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    say(str(out))
