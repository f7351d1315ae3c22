"""Commands for error messages and pages, complete enough to paste into a shell.

    told.command("select", corpus.uri)   # nucleus select corpus=c rules.r='width < 3'

Code that writes a message (a reader of a damaged file, a page, a worker) does not know the recipe.
So each process remembers, by a corpus's URI, the configuration file and overrides that it was last
used with; `remembered` and `adopt` pass this on to worker processes.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace

SECRET = "storage_options"


@dataclass(frozen=True)
class Asked:
    """The configuration that a corpus was used with.

    Attributes:
        config: The configuration file; None for the default one.
        overrides: `key.sub=value`, as given on the command line.
        source: Whether `ingest.source` is set by these.
    """

    config: str | None = None
    overrides: tuple[str, ...] = ()
    source: bool = False


_NOTHING = Asked()
_asked: dict[str, Asked] = {}


def remember(uri: str, asked: Asked) -> None:
    """Remembers the configuration of a corpus, for messages from now on."""
    if uri:
        _asked[_name(uri)] = asked


def assume_default(uri: str) -> None:
    """Remembers that a corpus is used with the default file, which commands need not name."""
    _asked[_name(uri)] = replace(_asked.get(_name(uri), _NOTHING), config=None)


def remembered() -> dict[str, Asked]:
    """Returns everything that this process remembers, for `adopt` in another process."""
    return dict(_asked)


def adopt(known: Mapping[str, Asked]) -> None:
    """Adds what another process remembers."""
    _asked.update(known)


def command(name: str, uri: str, *more: str, options: str = "", like: str = "") -> str:
    """Returns a `nucleus` command for a corpus, quoted for a shell.

    Values of `storage_options` may be secret, and are masked: `storage_options.key=...`.

    Args:
        name: The command and its arguments before the corpus, such as `retry caption`.
        uri: The corpus.
        more: Further overrides; they replace remembered ones of the same key.
        options: Further options, in the form of `Choice.options()`.
        like: The corpus whose remembered configuration to use, if it is not `uri`.
    """
    asked = _asked.get(_name(like or uri), _NOTHING)
    replaced = {key_of(override) for override in more} | {"corpus"}
    given = [_public(o) for o in asked.overrides if key_of(o) not in replaced]
    config = [] if asked.config is None else ["--config", shlex.quote(asked.config)]
    words = [_quoted(f"corpus={uri}"), *config, *map(_quoted, [*given, *more])]
    return f"nucleus {name} {' '.join(words)}{options}"


def ingesting(uri: str) -> str:
    """Returns the command that ingests into a corpus; an unknown source is written as PATH."""
    known = _asked.get(_name(uri), _NOTHING).source
    return command("ingest", uri, *([] if known else ["ingest.source=PATH"]))


def key_of(override: str) -> str:
    """Returns the key of an override `key=value`."""
    return override.partition("=")[0].strip()


def _public(override: str) -> str:
    return f"{key_of(override)}=..." if SECRET in override else override


def _quoted(override: str) -> str:
    """Quotes an override for a shell; only its value, if that is enough."""
    key, sign, value = override.partition("=")
    return key + sign + shlex.quote(value) if key == shlex.quote(key) else shlex.quote(override)


def _name(uri: str) -> str:
    """Normalizes a URI as `Store` does."""
    return uri.rstrip("/") or "/"
