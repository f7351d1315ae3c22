"""Commands as messages tell them: they work when they are pasted into a shell.

    told.command("select", corpus.uri)   # nucleus select corpus=c rules.r='width < 3'

Whoever writes a message (a reader of a damaged file, a page, a worker) has no recipe at hand. So
how a corpus was last asked about is remembered by its URI, in this process and in its workers.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace

SECRET = "storage_options"


@dataclass(frozen=True)
class Asked:
    """What was said beside the corpus.

    Attributes:
        config: The configuration file; None for the default one.
        overrides: `key.sub=value`, as they were given.
        source: Whether these say where pictures come from (`ingest.source`).
    """

    config: str | None = None
    overrides: tuple[str, ...] = ()
    source: bool = False


_NOTHING = Asked()
_asked: dict[str, Asked] = {}


def remember(uri: str, asked: Asked) -> None:
    """Notes how a corpus is asked about from now on."""
    if uri:
        _asked[_name(uri)] = asked


def assume_default(uri: str) -> None:
    """Notes that a corpus is asked about with the default configuration, which needs no naming."""
    _asked[_name(uri)] = replace(_asked.get(_name(uri), _NOTHING), config=None)


def remembered() -> dict[str, Asked]:
    """All that this process knows, for `adopt` in another one."""
    return dict(_asked)


def adopt(known: Mapping[str, Asked]) -> None:
    """Takes over what another process knows."""
    _asked.update(known)


def command(name: str, uri: str, *more: str, options: str = "", like: str = "") -> str:
    """A command of `nucleus` about a corpus, quoted for a shell.

    Values of `storage_options` may be secret, and are left out: `storage_options.key=...`.

    Args:
        name: The command, with what stands before the corpus (`retry caption`).
        uri: The corpus.
        more: Further overrides, in the place of given ones of the same key.
        options: Further options, as `Choice.options()` writes them.
        like: The corpus whose configuration and overrides are meant, if it is another one.
    """
    asked = _asked.get(_name(like or uri), _NOTHING)
    said = {key_of(override) for override in more} | {"corpus"}
    given = [_public(o) for o in asked.overrides if key_of(o) not in said]
    config = [] if asked.config is None else ["--config", shlex.quote(asked.config)]
    words = [_quoted(f"corpus={uri}"), *config, *map(_quoted, [*given, *more])]
    return f"nucleus {name} {' '.join(words)}{options}"


def ingesting(uri: str) -> str:
    """The command that takes pictures into a corpus; with a placeholder if no source is known."""
    known = _asked.get(_name(uri), _NOTHING).source
    return command("ingest", uri, *([] if known else ["ingest.source=PATH"]))


def key_of(override: str) -> str:
    """The key of an override."""
    return override.partition("=")[0].strip()


def _public(override: str) -> str:
    return f"{key_of(override)}=..." if SECRET in override else override


def _quoted(override: str) -> str:
    """An override for a shell, of which the value alone is quoted where that is enough."""
    key, sign, value = override.partition("=")
    return key + sign + shlex.quote(value) if key == shlex.quote(key) else shlex.quote(override)


def _name(uri: str) -> str:
    """A URI as a store writes it."""
    return uri.rstrip("/") or "/"
