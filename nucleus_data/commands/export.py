"""`nucleus export`: a list of records; or a training set with its captions, for other readers."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from nucleus_data.commands.support import (
    EXIT_FAILED,
    common_options,
    complain,
    load,
    opened,
    say,
)
from nucleus_data.corpus.states import KEPT, STATES
from nucleus_data.errors import RequestError

# Those of views.export_files, repeated since importing it would import pyarrow.
KINDS = ("webdataset", "parquet", "webshart", "energon")
OF_SETS = ("captions", "columns", "out", "resolutions", "captioned", "workers")


@click.command()
@click.option(
    "--as",
    "kind",
    type=click.Choice(KINDS),
    help="Export the training set TARGET: as tars or Parquet that contain the captions, or as the "
    "index files with which webshart and Energon read the set's own tars.",
)
@click.option("--captions", metavar="EDITION", help="With --as: the edition's name or hash.")
@click.option(
    "--columns", metavar="HASH", help="With --as: which columns (scores, tiers) to add, or 'none'."
)
@click.option(
    "--out", metavar="FOLDER", help="With --as: output folder [default: exports/... of the corpus]."
)
@click.option(
    "--resolution",
    "resolutions",
    type=click.IntRange(1),
    multiple=True,
    help="With --as: export only this resolution; repeatable.",
)
@click.option("--captioned", is_flag=True, help="With --as: leave out samples without a caption.")
@click.option(
    "--workers", type=click.IntRange(1), help="With --as: files to write at once [default: 8]."
)
@click.option(
    "--state",
    "states",
    type=click.Choice(STATES),
    multiple=True,
    help="Export records in this state; repeatable. Records that are not kept are exported with "
    "their reasons [default: kept].",
)
@click.argument("target")
@common_options
def export(
    target: str,
    kind: str | None,
    states: tuple[str, ...],
    config: Path | None,
    overrides: tuple[str, ...],
    **of_sets: Any,
) -> None:
    """Export a list of records, or a training set.

    Without --as, writes ids, keys, URLs and upstream columns of the records that are kept, by the
    selection of the current tables and rules, to TARGET (.parquet or .csv).

    With --as, TARGET is a training set: its name, its hash, or a folder or URL.
    """
    given = {name: value for name, value in of_sets.items() if value not in (None, (), False)}
    if kind is not None:
        if states:
            raise RequestError("--state cannot be used with --as: a set contains kept records only")
        _export_set(target, kind, config, overrides, **given)
        return
    if given:
        option = next(iter(given)).replace("resolutions", "resolution")
        raise RequestError(f"--{option} can only be used with --as {'|'.join(KINDS)}")
    _export_records(target, states or (KEPT,), config, overrides)


def _export_records(
    target: str, states: Sequence[str], config: Path | None, overrides: Sequence[str]
) -> None:
    from nucleus_data.views import export as view

    with opened("export", config, overrides, dry_run=True) as found:
        count = view.export(found.run, found.stages["select"], target, states)
        for line in view.made_lines(found.run):
            say(line)
        say(f"{count:,} {' and '.join(dict.fromkeys(states))} records")
        say(target)


def _export_set(
    target: str, kind: str, config: Path | None, overrides: Sequence[str], **given: Any
) -> None:
    from nucleus_data.views.export_asked import asked

    _, recipe = load(config, overrides)
    export = asked(target, kind, recipe.corpus, recipe.storage_options, **given)
    done = export.run(say)
    for failure in export.failed:
        complain(f"error: {failure}")
    if not done:
        complain(
            f"{len(export.failed)} files could not be written; the others are done. Run the same "
            "command again to write what is missing"
        )
        sys.exit(EXIT_FAILED)
    say(export.out.uri)
