"""Reads configuration files, merges them over their bases, and applies overrides."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nucleus_data.config.words import shown
from nucleus_data.config.yaml_text import TooDeepError, parsed
from nucleus_data.errors import RequestError

SHIPPED = "configs"  # folder of the recipes that come with the project


def read_layers(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Reads a file and merges it over its `base`, recursively.

    Args:
        path: A YAML file.
        above: The files that led here, each the base of the one before; detects cycles.

    Returns:
        The merged content, without `base`.

    Raises:
        RequestError: A file is missing, can't be read, is not a YAML mapping in UTF-8, or is its
            own base.
    """
    path = located(path)
    try:
        content = parsed(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        named = f" (the base of {above[-1]})" if above else ""
        raise RequestError(f"there is no configuration file {path}{named}") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RequestError(f"{path} can't be read: {reason}; give a YAML file") from None
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None
    except ValueError as error:
        raise RequestError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise RequestError(f"{path} must contain keys and values, but it contains a {kind}")
    base = content.pop("base", None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise RequestError(
            f"base: must be a path, relative to the file's folder; got {base!r} ({path})"
        )
    try:
        found = located(path.parent / base, Path(base))
    except OSError as error:  # such as a file name that is too long
        reason = (error.strerror or str(error)).lower()
        raise RequestError(f"base: {shown(base)} can't be read: {reason} ({path})") from None
    if found.resolve() in [p.resolve() for p in (*above, path)]:
        raise RequestError(f"base: {found} is based on itself ({path})")
    return _laid_over(read_layers(found, (*above, path)), content)


def located(path: Path, named: Path | None = None) -> Path:
    """Finds a shipped file by its path in a clone, `configs/...`, from any working directory.

    Args:
        path: Where to look first.
        named: The path as the user wrote it, if it differs from `path`.

    Returns:
        `path` if it exists, or if the project has no such file either; else the shipped file.
    """
    first, *rest = (named or path).parts or ("",)
    if path.exists() or first != SHIPPED or not (found := shipped(*rest)).is_file():
        return path
    return found


def shipped(*names: str) -> Path:
    """Returns the path of a shipped configuration, given its path below `configs`."""
    # A wheel has the folder inside the package, a clone beside it.
    package = Path(__file__).resolve().parents[1]
    inside = package.joinpath(SHIPPED, *names)
    return inside if inside.exists() else package.parent.joinpath(SHIPPED, *names)


def _laid_over(base: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Merges a file's content over its base: mappings recursively; other values are replaced."""
    return {
        **base,
        **{
            key: _laid_over(base[key], value)
            if isinstance(value, dict) and isinstance(base.get(key), dict)
            else value
            for key, value in content.items()
        },
    }


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """Parses `key.sub=value` to keys and a YAML value; text that is not YAML stays text.

    Raises:
        RequestError: There is no `=` or no key, or the value is nested too deeply.
    """
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise RequestError(
            f"{text!r} is not an override; write key.sub=value, for example corpus=demo"
        )
    try:
        return tuple(key.strip().split(".")), parsed(value)
    except TooDeepError as error:
        raise RequestError(f"override {key.strip()}=...: {error}") from None
    except ValueError:
        return tuple(key.strip().split(".")), value  # some SQL and URLs are not valid YAML


def set_key(content: dict[str, Any], keys: tuple[str, ...], value: Any, override: str) -> None:
    """Sets a nested key, in place; missing sections are created.

    Args:
        content: The configuration to change.
        keys: The path of keys.
        value: The new value.
        override: The override's text, for the error message.

    Raises:
        RequestError: A key on the path has a value that is not a section.
    """
    place: Any = content
    for key in keys[:-1]:
        if place.get(key) is None:
            place[key] = {}
        place = place[key]
        if not isinstance(place, dict):
            raise RequestError(f"{override!r}: {key!r} is a single value and has no {keys[-1]!r}")
    place[keys[-1]] = value
