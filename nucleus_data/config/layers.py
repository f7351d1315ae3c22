"""Configuration files with their bases, and overrides laid over them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nucleus_data.config.words import shown
from nucleus_data.config.yaml_text import TooDeepError, parsed
from nucleus_data.errors import RequestError

SHIPPED = "configs"  # the folder of the recipes that come with the project


def read_layers(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A file's content, laid over that of its `base`.

    Args:
        path: YAML file.
        above: Files that it is the base of.

    Raises:
        RequestError: There is no such file, or it is not keys and values.
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
            f"{path} is no UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None
    except ValueError as error:
        raise RequestError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise RequestError(f"{path} must hold keys and values, it holds a {type(content).__name__}")
    base = content.pop("base", None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise RequestError(
            f"base: must be a path, relative to the file's folder; got {base!r} ({path})"
        )
    try:
        found = located(path.parent / base, Path(base))
    except OSError as error:  # a name of too many letters
        reason = (error.strerror or str(error)).lower()
        raise RequestError(f"base: {shown(base)} can't be read: {reason} ({path})") from None
    if found.resolve() in [p.resolve() for p in (*above, path)]:
        raise RequestError(f"base: {found} is based on itself ({path})")
    return _laid_over(read_layers(found, (*above, path)), content)


def located(path: Path, named: Path | None = None) -> Path:
    """Finds a file by the path that it has in a clone, `configs/...`, from wherever one is.

    Args:
        path: Where it is; what is there counts first.
        named: How it was named, if not so.

    Returns:
        Where it is: `path`, if no such file comes with the project either.
    """
    first, *rest = (named or path).parts or ("",)
    if path.exists() or first != SHIPPED or not (found := shipped(*rest)).is_file():
        return path
    return found


def shipped(*names: str) -> Path:
    """The place of a configuration that comes with the project, by its path below `configs`."""
    # Inside the package where it was installed from a wheel, beside it in a clone.
    package = Path(__file__).resolve().parents[1]
    inside = package.joinpath(SHIPPED, *names)
    return inside if inside.exists() else package.parent.joinpath(SHIPPED, *names)


def _laid_over(base: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """A file's content over its base's: sections are merged, anything else is replaced."""
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
        return tuple(key.strip().split(".")), parsed(value)
    except TooDeepError as error:
        raise RequestError(f"override {key.strip()}=...: {error}") from None
    except ValueError:
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
