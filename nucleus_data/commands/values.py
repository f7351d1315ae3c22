"""The values that name records to `nucleus block` and `nucleus takedown`: options, or a list."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from nucleus_data.commands.support import LocalPath
from nucleus_data.errors import RequestError

_OPTIONS = (
    click.option("--id", "ids", multiple=True, help="A record's id (32 hex digits); repeatable."),
    click.option(
        "--url", "urls", multiple=True, help="A URL, with either http or https; repeatable."
    ),
    click.option("--host", "hosts", multiple=True, help="A host and its subdomains; repeatable."),
    click.option("--sha256", "digests", multiple=True, help="SHA-256 of a file; repeatable."),
    click.option(
        "--from",
        "source",
        type=LocalPath(exists=True, dir_okay=False, path_type=Path),
        help="A text file of values, one per line: `host example.org`, `url https://...`.",
    ),
)


def value_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --id, --url, --host, --sha256 and --from to a command.

    It gets their (kind, value) as `values`, as they were written.
    """

    @wraps(command)
    def with_values(**given: Any) -> Any:
        names = ("ids", "urls", "hosts", "digests", "source")
        values = _values(*(given.pop(name) for name in names))
        return command(values=values, **given)

    for option in reversed(_OPTIONS):
        with_values = option(with_values)
    return with_values


def _values(
    ids: tuple[str, ...],
    urls: tuple[str, ...],
    hosts: tuple[str, ...],
    digests: tuple[str, ...],
    source: Path | None,
) -> list[tuple[str, str]]:
    from nucleus_data.corpus.blocked import HOST, ID, SHA256, URL

    given = {ID: ids, URL: urls, HOST: hosts, SHA256: digests}
    values = [(kind, value) for kind, found in given.items() for value in found]
    return values + (_read(source) if source is not None else [])


def _read(file: Path) -> list[tuple[str, str]]:
    """Reads (kind, value) from each line.

    Raises:
        RequestError: A line has no kind, or the file is not UTF-8: a value with a replaced letter
            would name something else.
    """
    from nucleus_data.corpus.blocked import KINDS

    try:
        text = file.read_text("utf-8-sig")  # with or without a byte-order mark
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{file} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        kind, _, value = line.strip().partition(" ")
        if kind not in KINDS or not value.strip():
            raise RequestError(
                f"{file}, line {number}: found {line.strip()[:80]!r}; each line must be a kind "
                f"({', '.join(KINDS)}), a space and a value"
            )
        found.append((kind, value))
    return found
