"""`nucleus captions`: the caption sets of a corpus listed, imported, compared."""

from pathlib import Path
from typing import Any

import click

from nucleus_data.commands.support import LocalPath, common_options, complain, opened, say, say_json


@click.group()
def captions() -> None:
    """List, import and compare caption sets."""


@captions.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@common_options
def list_captions(as_json: bool, config: Path | None, overrides: tuple[str, ...]) -> None:
    """List all caption tables.

    Old and imported tables are included, with the runs and training sets that use them. The names
    can be used in shard.captions and score_captions.variants.
    """
    from nucleus_data.views import captions_list as view

    with opened("captions list", config, overrides, dry_run=True) as found:
        content = view.caption_sets(found.run)
        if as_json:
            say_json(content)
            return
        for line in view.lines(content):
            say(line)


@captions.command("import")
@click.argument("source")
@click.option("--as", "name", required=True, help="Name of the imported caption set.")
@click.option("--id-column", help="Column with record ids.")
@click.option("--key-column", help="Column with record keys: relative paths, TAR/MEMBER.")
@click.option("--url-column", help="Column with URLs.")
@click.option("--caption-column", help="Column with the captions.")
@click.option("--source", "only", help="Match only records of this ingest source.")
@click.option("--model", help="Model that made the captions, stored with them.")
@click.option("--revision", help="Revision of that model.")
@click.option("--prompt", help="Prompt that the model was given.")
@click.option("--dry-run", is_flag=True, help="Only count; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@common_options
def import_captions(
    source: str,
    name: str,
    id_column: str | None,
    key_column: str | None,
    url_column: str | None,
    caption_column: str | None,
    only: str | None,
    model: str | None,
    revision: str | None,
    prompt: str | None,
    dry_run: bool,
    as_json: bool,
    config: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Import captions from SOURCE as a caption set.

    SOURCE is a Parquet, CSV or JSON lines file (also compressed), or a folder in the layout of
    `datasets`. The captions become a table, which shard.captions, score_captions.variants and
    `captions diff` accept by its name. Columns are recognised by their names unless given.
    """
    import json

    from nucleus_data.stages.caption.importing.imported import (
        import_captions,
        import_lines,
        plan_import,
    )

    tell = complain if as_json else say
    with opened("captions-import", config, overrides, dry_run=dry_run, tell=tell) as found:
        run = found.run
        request = plan_import(
            source,
            name,
            run.pins.variants("caption."),
            run.corpus,
            columns={"id": id_column, "key": key_column, "url": url_column},
            caption=caption_column,
            only=only,
            about={"model": model, "revision": revision, "prompt": prompt},
        )
        content: dict[str, Any] = import_captions(run.corpus, request, dry_run=dry_run)
        if not dry_run:
            run.corpus.store.put(run.path("captions_import.json"), json.dumps(content).encode())
        if as_json:
            say_json(content)
            return
        for line in import_lines(content):
            say(line)
        made = " would be made" if dry_run else ""
        if content["other_sets"]:
            others = ", ".join(content["other_sets"])
            say(f"{content['set']}{made}; use it by this name, as {name} is also that of {others}")
        else:
            say(f"{content['set']}{made}; use it as {name}")


@captions.command("diff")
@click.argument("first")
@click.argument("second")
@click.option(
    "--page",
    type=LocalPath(dir_okay=False, path_type=Path),
    help="Path of the page [default: in the run's folder].",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 200),
    default=12,
    show_default=True,
    help="Pictures to show of each kind.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@common_options
def diff_captions(
    first: str,
    second: str,
    page: Path | None,
    limit: int,
    as_json: bool,
    config: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Compare two caption sets, in numbers and on a page.

    FIRST and SECOND are each `source`, a variant, VARIANT@HASH or the name of an import: see
    `nucleus captions list`.
    """
    from nucleus_data.views import captions_diff as view

    tell = complain if as_json else say
    with opened("captions-diff", config, overrides, tell=tell) as found:
        content = view.diff(found.run, first, second, page, limit)
        if as_json:
            say_json(content)
            return
        for line in view.lines(content):
            say(line)
