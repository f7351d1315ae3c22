"""Configuration files that lie over each other, and overrides on top; free of Ray and of models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from nucleus_data.errors import RequestError


def read_layers(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A file's content, laid over that of its `base`.

    Args:
        path: YAML file.
        above: Files that it is the base of.

    Raises:
        RequestError: There is no such file, or it is not keys and values.
    """
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except FileNotFoundError:
        named = f" (the base of {above[-1]})" if above else ""
        raise RequestError(f"there is no configuration file {path}{named}") from None
    except yaml.YAMLError as error:
        raise RequestError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise RequestError(f"{path} must hold keys and values, it holds a {type(content).__name__}")
    base = content.pop("base", None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise RequestError(
            f"base: must be a path, relative to the file's folder; got {base!r} ({path})"
        )
    found = path.parent / base
    if found.resolve() in [p.resolve() for p in (*above, path)]:
        raise RequestError(f"base: {found} is based on itself ({path})")
    return _laid_over(read_layers(found, (*above, path)), content)


def _laid_over(base: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
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
    """`key.sub=value` as keys and a YAML value; what is not YAML (some SQL) is text.

    Raises:
        RequestError: There is no `=`.
    """
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise RequestError(
            f"{text!r} is not an override; write key.sub=value, for example corpus=demo"
        )
    try:
        return tuple(key.strip().split(".")), yaml.safe_load(value)
    except yaml.YAMLError:
        return tuple(key.strip().split(".")), value  # SQL and URLs may not be YAML; they are text


def set_key(content: dict[str, Any], keys: tuple[str, ...], value: Any, override: str) -> None:
    """Sets a key inside keys, in place.

    Raises:
        RequestError: One of the keys on the way has a single value.
    """
    place: Any = content
    for key in keys[:-1]:
        if place.get(key) is None:
            place[key] = {}
        place = place[key]
        if not isinstance(place, dict):
            raise RequestError(f"{override!r}: {key!r} is a single value, it has no {keys[-1]!r}")
    place[keys[-1]] = value
