"""`nucleus retry`: what failed in a way that may pass is done again."""

from pathlib import Path

import click

from nucleus_data.commands.support import CONFIG_HELP, finish, opened


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help=CONFIG_HELP)
@click.argument("arguments", nargs=-1, metavar="[STAGE]... [KEY.SUB=VALUE]...")
def retry(arguments: tuple[str, ...], config: Path | None) -> None:
    """Do again what failed in a way that may pass: failed rows and failed shards, nothing else.

    STAGE is `ingest` (downloads of URL lists), `inspect`, `embed`, `score`, `caption` or
    `score_captions`; all by default.
    """
    from nucleus_data.line import steps
    from nucleus_data.line.lines import RETRIED

    names = [a for a in arguments if "=" not in a]
    unknown = [s for s in names if s not in RETRIED]
    if unknown:
        allowed = ", ".join(reversed(RETRIED))
        raise click.UsageError(f"cannot retry {unknown[0]!r}; allowed: {allowed}")
    overrides = [a for a in arguments if "=" in a]
    with opened("retry", config, overrides, steps=names) as found:
        for stage in names or RETRIED:
            steps.retry(found.run, found.stages, stage)
        finish(found.run)
