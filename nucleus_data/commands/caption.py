"""`nucleus caption`: the stage, and some captions to look at before it runs."""

from pathlib import Path
from typing import Any

import click

from nucleus_data.commands.group import run_stages
from nucleus_data.commands.support import LocalPath, opened, say, work_options

NAME = "caption"
PAGE = Path("captions.html")


@click.command(NAME)
@click.option(
    "--try",
    "tried",
    type=click.IntRange(1, 200),
    metavar="PICTURES",
    help="Caption this many pictures with every variant and write a page of them; store nothing.",
)
@click.option(
    "--out",
    type=LocalPath(path_type=Path, dir_okay=False),
    help=f"Path of the page that --try writes [default: {PAGE}].",
)
@work_options
def caption(tried: int | None, out: Path | None, **given: Any) -> None:
    """Caption the kept images, one table per variant.

    Before a long run, --try 12 shows example captions of each variant, and --dry-run estimates
    captions, tokens, time and price.
    """
    if tried is None:
        if out is not None:
            raise click.UsageError(
                "--out can only be used with --try: nucleus caption --try 12 --out page.html"
            )
        run_stages(NAME, (NAME,), **given)
        return
    if given["dry_run"] or given["limit"] is not None or given["sample"] != 1:
        raise click.UsageError("--try PICTURES cannot be used with --dry-run, --limit or --sample")
    from nucleus_data.views.tried import try_captions

    with opened(NAME, given["config"], given["overrides"], dry_run=True) as found:
        for line in try_captions(found.run, found.stages, tried, out or PAGE):
            say(line)
