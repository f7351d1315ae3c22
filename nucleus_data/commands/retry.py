"""`nucleus retry`: redoes what failed for a reason that may be temporary."""

from pathlib import Path

import click

from nucleus_data.commands.support import CONFIG_HELP, LocalPath, finish, opened


@click.command()
@click.option("--config", type=LocalPath(path_type=Path), help=CONFIG_HELP)
@click.option(
    "--check",
    "checks",
    multiple=True,
    help="For caption: captions that this check rejected or flagged, e.g. repetition; repeatable. "
    "Temporary failures are not retried then.",
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    help="For caption: only captions of this variant; those that a check rejected, unless --where "
    "is given; repeatable.",
)
@click.option(
    "--where",
    help="For caption: redo stored captions for which this SQL condition is true, in addition to "
    "those of --check. It may use the record's signals and the caption's own columns "
    "('short_similarity < 0.3', 'tokens < 5').",
)
@click.option("--dry-run", is_flag=True, help="Show what would be retried, without doing it.")
@click.argument("arguments", nargs=-1, metavar="[STAGE]... [KEY.SUB=VALUE]...")
def retry(
    arguments: tuple[str, ...],
    config: Path | None,
    checks: tuple[str, ...],
    variants: tuple[str, ...],
    where: str | None,
    dry_run: bool,
) -> None:
    """Redo failures that may be temporary.

    Only failed rows and failed shards are processed, nothing else. STAGE is `ingest` (downloads of
    URL lists), `inspect`, `embed`, `score`, `caption` or `score_captions`; all by default. Captions
    that a check rejected are generated again with further attempts, at most caption.rounds times.
    """
    from nucleus_data.line import steps
    from nucleus_data.line.caption_retry import Request
    from nucleus_data.line.lines import RETRIED

    names = [a for a in arguments if "=" not in a]
    unknown = [s for s in names if s not in RETRIED]
    if unknown:
        allowed = ", ".join(reversed(RETRIED))
        raise click.UsageError(f"cannot retry {unknown[0]!r}; allowed: {allowed}")
    overrides = [a for a in arguments if "=" in a]
    request = None
    if checks or variants or where is not None:
        if names != ["caption"]:
            raise click.UsageError(
                "--check, --variant and --where apply to captions only: nucleus retry caption ..."
            )
        request = Request(checks, where, variants)
    with opened("retry", config, overrides, steps=names, dry_run=dry_run) as found:
        for stage in names or RETRIED:
            steps.retry(found.run, found.stages, stage, request)
        finish(found.run)
