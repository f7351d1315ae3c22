"""`nucleus block`: shows and edits the block list, which every later ingest obeys."""

from pathlib import Path
from typing import Any

import click

from nucleus_data.commands.support import common_options, opened, say, say_json
from nucleus_data.commands.values import value_options


@click.command()
@value_options
@click.option("--remove", is_flag=True, help="Remove these values from the list.")
@click.option("--dry-run", is_flag=True, help="Show what would change, without writing anything.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON, for scripts.")
@common_options
def block(
    values: list[tuple[str, str]],
    remove: bool,
    dry_run: bool,
    as_json: bool,
    config: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Block ids, URLs, hosts or files in later ingests.

    Without any value, shows the block list. A blocked row becomes a record with the reason
    `blocked`; its URL is not requested. Pictures that are already in the corpus stay: `nucleus
    takedown` removes them, and blocks them too.
    """
    from nucleus_data.corpus.blocked import BLOCKED, Entry, add_blocked, plain, read_blocked

    reason = None if remove else BLOCKED
    entries = [Entry(kind, plain(kind, value), reason) for kind, value in values]
    # A corpus may be blocked from before its first ingest.
    create = bool(entries) and not remove
    with opened("block", config, overrides, dry_run=True, create=create) as found:
        store = found.run.corpus.store
        known = read_blocked(store)
        if entries and not dry_run:
            written = add_blocked(store, entries)
            known = read_blocked(store)
        else:
            there = known.reasons
            written = [e for e in entries if ((e.kind, e.value) in there) == remove]
        if as_json:
            content: list[Any] = [
                {"kind": e.kind, "value": e.value, "reason": e.reason} for e in known.entries()
            ]
            say_json(content)
            return
        if entries:
            verb = "would be " if dry_run else ""
            done = "removed" if remove else "added"
            say(f"block: {len(written):,} of {len(entries):,} values {verb}{done}")
        else:
            for entry in known.entries():
                say(f"{entry.kind:6} {entry.value}  {entry.reason}")
        say(f"block: the list has {len(known.reasons):,} values")
