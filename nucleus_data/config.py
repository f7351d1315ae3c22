"""One YAML file and its overrides as a settings model, with errors that name what is allowed.

A file may name another as its `base` and say only what differs. Overrides are `key.sub=value`.
Unknown keys are errors; every error names the file or the override, the key, what was found and
what is allowed. Which settings there are is their owners' business: every function here takes the
model.
"""

import difflib
import json
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from nucleus_data.errors import RequestError

ModelT = TypeVar("ModelT", bound=BaseModel)
SHIPPED = "configs"  # the folder of the recipes that come with the project
# Of a field (`json_schema_extra`): another value changes how the work is done, and no result of it.
SHOWN_PLACES = 3
KEEPS_VALUES: dict[str, Any] = {"keeps_values": True}
# Of a field: it came when there were tables and runs without it. Those are of its default, which
# therefore enters no hash.
ADDED: dict[str, Any] = {"added": True}


def load(
    model: type[ModelT],
    path: Path,
    overrides: Sequence[str] = (),
    check: Callable[[tuple[str, ...], Any, Mapping[str, Any], str], None] | None = None,
) -> ModelT:
    """Reads a configuration file, with its bases, and applies overrides.

    Args:
        model: The settings.
        path: YAML file.
        overrides: `key.sub=value`; the value is YAML (`shard.resolutions=[64,128]`).
        check: Asked about each override before it is applied: keys, value, the content so far, and
            its text.

    Raises:
        RequestError: With every problem, one a line.
    """
    content = read_layers(path)
    given: dict[tuple[str, ...], str] = {}
    for override in overrides:
        keys, value = parse_override(override)
        if check:
            check(keys, value, content, override)
        set_key(content, keys, value, override)
        given[keys] = override
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise RequestError(explain(model, error, str(path), given)) from None


def explain(
    model: type[BaseModel], error: ValidationError, path: str, given: Mapping[tuple[str, ...], str]
) -> str:
    """What is wrong with a configuration, one line a problem.

    Args:
        model: The settings that were validated.
        error: What pydantic said.
        path: The file.
        given: Keys -> the override that set them.
    """
    lines = []
    for problem in error.errors():
        keys = tuple(str(k) for k in problem["loc"])
        unknown = problem["type"] == "extra_forbidden"
        origin = path
        for given_keys, override in given.items():
            inside = keys[: len(given_keys)] == given_keys
            if inside or (unknown and given_keys[: len(keys)] == keys):
                origin = f"override {override!r}"
        name = ".".join(keys)
        if unknown:
            allowed = _allowed_keys(model, keys[:-1])
            lines.append(
                f"{name} is not a known key ({origin})."
                f"{elsewhere(model, keys) or nearest(keys[-1], allowed)} "
                f"Allowed: {', '.join(allowed)}"
            )
        else:
            message = problem["msg"].removeprefix("Value error, ")
            message = message[0].lower() + message[1:]
            lines.append(f"{name}: {message}; got {problem.get('input')!r} ({origin})")
    return "\n".join(lines)


def nearest(name: str, allowed: Iterable[str]) -> str:
    """A hint for a mistyped name, with a space before it: ` Did you mean 'x'?`; or nothing."""
    close = difflib.get_close_matches(name, list(allowed), 1)
    return f" Did you mean {close[0]!r}?" if close else ""


def elsewhere(model: type[BaseModel], keys: Sequence[str]) -> str:
    """A hint for a key that is known in another place, with a space before it; or nothing."""
    end = f".{keys[-1]}"
    found = [key for key, _, _ in describe(model) if key.endswith(end)][:SHOWN_PLACES]
    return f" Did you mean {' or '.join(map(repr, found))}?" if found else ""


def deciding(settings: BaseModel, without: Collection[str] = ()) -> dict[str, Any]:
    """The settings that change values, as JSON: what enters a config hash.

    Args:
        settings: A settings model. Fields marked with `KEEPS_VALUES` are left out, and those
            marked with `ADDED`, also of models inside it, where they have their default.
        without: Further fields to leave out, because they enter the hash in another form.
    """
    left_out = set(without)
    for name, field in type(settings).model_fields.items():
        if _marked(field, KEEPS_VALUES) or _added(field, getattr(settings, name)):
            left_out.add(name)
    content = settings.model_dump(mode="json", exclude=left_out)
    for name in content:
        content[name] = _without_added(getattr(settings, name), content[name])
    return content


def _marked(field: FieldInfo, mark: Mapping[str, Any]) -> bool:
    """Whether a field has a mark, such as `KEEPS_VALUES`."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and mark.items() <= extra.items()


def _added(field: FieldInfo, value: Any) -> bool:
    """Whether a value is the default of a field that was added."""
    return _marked(field, ADDED) and value == field.get_default(call_default_factory=True)


def _without_added(value: Any, content: Any) -> Any:
    """JSON of a setting without those fields of models inside it that were added, at defaults."""
    if isinstance(value, BaseModel):
        return {
            name: _without_added(getattr(value, name), content[name])
            for name, field in type(value).model_fields.items()
            if not _added(field, getattr(value, name))
        }
    if isinstance(value, Mapping):
        return {key: _without_added(value[key], content[key]) for key in content}
    if isinstance(value, list | tuple):
        return [_without_added(*pair) for pair in zip(value, content, strict=True)]
    return content


def describe(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every key with its default and its sentence, those of inner models too."""
    for name, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        if inner is not None and typing.get_origin(field.annotation) not in (dict, Mapping):
            yield from describe(inner, f"{prefix}{name}.")
            continue
        default = (
            "required"
            if field.is_required()
            else _as_json(field.get_default(call_default_factory=True))
        )
        yield f"{prefix}{name}", default, field.description or ""


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
    package = Path(__file__).resolve().parent
    inside = package.joinpath(SHIPPED, *names)
    return inside if inside.exists() else package.parent.joinpath(SHIPPED, *names)


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
        content = _parsed(path.read_text(encoding="utf-8")) or {}
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
    found = located(path.parent / base, Path(base))
    if found.resolve() in [p.resolve() for p in (*above, path)]:
        raise RequestError(f"base: {found} is based on itself ({path})")
    return _laid_over(read_layers(found, (*above, path)), content)


class _Loader(yaml.SafeLoader):
    """YAML in which no key is there twice: the first one's value would be lost unnoticed."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping's keys and values."""
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value!r} is there twice; keep one",
                    problem_mark=key.start_mark,
                )
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def _parsed(text: str) -> Any:
    """The value that a YAML text is of. Raises ValueError, in one line."""
    try:
        return yaml.load(text, _Loader)
    except RecursionError as error:
        raise ValueError("brackets or indents are nested too deeply") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{error.problem or error.context}{where}") from error
    except (yaml.YAMLError, ValueError) as error:  # of a character, of a date such as 2024-99-99
        raise ValueError(" ".join(str(error).split())) from error


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
        return tuple(key.strip().split(".")), _parsed(value)
    except ValueError as error:
        if isinstance(error.__cause__, RecursionError):
            raise RequestError(f"override {key.strip()}=...: {error}") from None
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


def _as_json(value: Any) -> str:
    """A default as it stands in a YAML file, which JSON is, too."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def _allowed_keys(model: Any, keys: Sequence[str]) -> list[str]:
    """The keys that the model at the end of a path of keys has, sorted."""
    for key in keys:
        if isinstance(model, type) and issubclass(model, BaseModel) and key in model.model_fields:
            model = _model_in(model.model_fields[key].annotation)
        else:
            model = _model_in(model)
    return sorted(model.model_fields) if hasattr(model, "model_fields") else []


def _model_in(annotation: Any) -> Any:
    """The settings model inside `Model | None`, `dict[str, Model]` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    origin = typing.get_origin(annotation)
    if origin in (types.UnionType, typing.Union, dict, tuple, list, Mapping):
        for argument in typing.get_args(annotation):
            found = _model_in(argument)
            if found is not None:
                return found
    return None
