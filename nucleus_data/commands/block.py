"""`nucleus block`: shows and edits the block list, which every later ingest obeys."""

from pathlib import Path
from typing import Any

import click

from nucleus_data.commands.support import LocalPath, common_options, opened, refuse, say, say_json
from nucleus_data.errors import RequestError


@click.command()
@click.option("--id", "ids", multiple=True, help="A record's id (32 hex digits); repeatable.")
@click.option("--url", "urls", multiple=True, help="A URL, with either http or https; repeatable.")
@click.option("--host", "hosts", multiple=True, help="A host and its subdomains; repeatable.")
@click.option("--sha256", "digests", multiple=True, help="SHA-256 of a file; repeatable.")
@click.option(
    "--from",
    "source",
    type=LocalPath(exists=True, dir_okay=False, path_type=Path),
    help="A text file of values, one per line: `host example.org`, `url https://...`.",
)
@click.option("--remove", is_flag=True, help="Remove these values from the list.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON, for scripts.")
@common_options
def block(
    ids: tuple[str, ...],
    urls: tuple[str, ...],
    hosts: tuple[str, ...],
    digests: tuple[str, ...],
    source: Path | None,
    remove: bool,
    dry_run: bool,
    as_json: bool,
    config: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Block ids, URLs, hosts or files in later ingests.

    Without a value, the block list is shown. A blocked row becomes a record with the reason
    `blocked`; its URL is not requested. Pictures that are already in the corpus stay: `nucleus
    takedown` removes them, and blocks them too.
    """
    from nucleus_data.corpus.blocked import BLOCKED, Entry, add_blocked, plain, read_blocked

    given = {"id": ids, "url": urls, "host": hosts, "sha256": digests}
    values = [(kind, value) for kind, found in given.items() for value in found]
    try:
        values += _read(source) if source is not None else []
        reason = None if remove else BLOCKED
        entries = [Entry(kind, plain(kind, value), reason) for kind, value in values]
    except RequestError as error:
        refuse(error)
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
            done = "taken off" if remove else "added"
            say(f"block: {len(written):,} of {len(entries):,} values {verb}{done}")
        else:
            for entry in known.entries():
                say(f"{entry.kind:6} {entry.value}  {entry.reason}")
        say(f"block: the list has {len(known.reasons):,} values")


def _read(file: Path) -> list[tuple[str, str]]:
    """Reads (kind, value) from each line.

    Raises:
        RequestError: A line has no kind, or the file is not UTF-8: a value with a replaced letter
            would block something else.
    """
    from nucleus_data.corpus.blocked import KINDS

    try:
        text = file.read_text("utf-8-sig")  # with or without a byte-order mark
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{file} is no UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        kind, _, value = line.strip().partition(" ")
        if kind not in KINDS or not value.strip():
            raise RequestError(
                f"{file}, line {number}: found {line.strip()[:80]!r}; a line is a kind "
                f"({', '.join(KINDS)}), a space and a value"
            )
        found.append((kind, value))
    return found
