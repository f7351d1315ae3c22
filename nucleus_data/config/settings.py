"""Fills settings models, words their validation errors, and selects what enters a config hash."""

import json
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from nucleus_data.config.layers import parse_override, read_layers, set_key
from nucleus_data.config.words import nearest, shown
from nucleus_data.errors import RequestError

ModelT = TypeVar("ModelT", bound=BaseModel)
SHOWN_PLACES = 3
# Marks a field (in `json_schema_extra`) that changes how the work is done but no result, so that it
# does not enter config hashes.
KEEPS_VALUES: dict[str, Any] = {"keeps_values": True}
# Marks a field that was added after tables and runs existed. Those behaved as with its default;
# the default therefore does not enter config hashes, so that theirs stay valid.
ADDED: dict[str, Any] = {"added": True}


def load(
    model: type[ModelT],
    path: Path,
    overrides: Sequence[str] = (),
    check: Callable[[tuple[str, ...], Any, Mapping[str, Any], str], None] | None = None,
) -> ModelT:
    """Reads a configuration file, with its bases, and applies overrides.

    Args:
        model: The settings model.
        path: A YAML file.
        overrides: `key.sub=value`, where the value is YAML (`shard.resolutions=[64,128]`).
        check: Called with each override before it is applied, as (keys, value, content so far,
            text); may raise RequestError.

    Raises:
        RequestError: The configuration is wrong; the message lists every problem, one per line.
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
    """Words what is wrong with a configuration, one line per problem.

    Args:
        model: The settings model that was validated.
        error: The validation error of pydantic.
        path: The configuration file.
        given: Keys -> the override that set them.
    """
    lines = []
    for problem in error.errors():
        keys = tuple(str(k) for k in problem["loc"])
        unknown = problem["type"] == "extra_forbidden"
        # A validator of a whole section: its message names the settings that do not fit together.
        together = problem["type"] == "value_error" and isinstance(problem.get("input"), Mapping)
        origin = path
        for given_keys, override in given.items():
            inside = keys[: len(given_keys)] == given_keys
            if inside or ((unknown or together) and given_keys[: len(keys)] == keys):
                origin = f"override {override!r}"
        name = ".".join(keys)
        if unknown and (place := _moved(model, keys)):
            lines.append(f"{name} moved to {place} ({origin})")
        elif unknown:
            allowed = _allowed_keys(model, keys[:-1])
            lines.append(
                f"{name} is not a known key ({origin})."
                f"{elsewhere(model, keys) or nearest(keys[-1], allowed)} "
                f"Allowed: {', '.join(allowed)}"
            )
        else:
            message = problem["msg"].removeprefix("Value error, ")
            message = message[0].lower() + message[1:]
            message = message.replace("a valid tuple", "a list, such as [a, b]")
            if problem["type"] == "secret":  # the value may be a credential: it is not repeated
                lines.append(f"{name}: {message}")
            elif together:
                lines.append(f"{name}: {message} ({origin})")
            else:
                lines.append(f"{name}: {message}; got {shown(problem.get('input'))} ({origin})")
    return "\n".join(lines)


def _moved(model: type[BaseModel], keys: Sequence[str]) -> str | None:
    """Returns the new place of a key that was moved (`moved` in `json_schema_extra`), or None."""
    section = _model_at(model, keys[:-1])
    extra = section.model_config.get("json_schema_extra") if section is not None else None
    moved = extra.get("moved") if isinstance(extra, dict) else None
    place = moved.get(keys[-1]) if isinstance(moved, dict) else None
    return place if isinstance(place, str) else None


def elsewhere(model: type[BaseModel], keys: Sequence[str]) -> str:
    """Returns a hint if a key exists in another section, with a leading space; else empty."""
    end = f".{keys[-1]}"
    places = [key for key, _, _ in describe(model) if key.endswith(end)][:SHOWN_PLACES]
    return f" Did you mean {' or '.join(map(repr, places))}?" if places else ""


def deciding(settings: BaseModel, without: Collection[str] = ()) -> dict[str, Any]:
    """Returns the settings that change results, as JSON: the content of a config hash.

    Fields marked `KEEPS_VALUES` are left out. So are fields marked `ADDED` that have their default,
    in nested models too.

    Args:
        settings: The settings.
        without: Further fields to leave out, because they enter the hash in another form.
    """
    left_out = set(without)
    for name, field in type(settings).model_fields.items():
        if _marked(field, KEEPS_VALUES) or _added(field, getattr(settings, name)):
            left_out.add(name)
    content = settings.model_dump(mode="json", exclude=left_out, by_alias=True)
    for name, field in type(settings).model_fields.items():
        if (key := _key_of(name, field)) in content:
            content[key] = _without_added(getattr(settings, name), content[key])
    return content


def _key_of(name: str, field: FieldInfo) -> str:
    """Returns a field's key in configuration files: its alias, such as `from`, or its name."""
    return field.alias or name


def _marked(field: FieldInfo, mark: Mapping[str, Any]) -> bool:
    """Returns whether a field has a mark, such as `KEEPS_VALUES`."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and mark.items() <= extra.items()


def _added(field: FieldInfo, value: Any) -> bool:
    """Returns whether a field is marked `ADDED` and has its default."""
    return _marked(field, ADDED) and value == field.get_default(call_default_factory=True)


def _without_added(value: Any, content: Any) -> Any:
    """Returns a value's JSON without `ADDED` fields at their defaults, in models at any depth.

    Args:
        value: The setting's value.
        content: The value's JSON, which has the same structure.
    """
    if isinstance(value, BaseModel):
        return {
            _key_of(name, field): _without_added(
                getattr(value, name), content[_key_of(name, field)]
            )
            for name, field in type(value).model_fields.items()
            if not _added(field, getattr(value, name))
        }
    if isinstance(value, Mapping):
        return {key: _without_added(value[key], content[key]) for key in content}
    if isinstance(value, list | tuple):
        return [_without_added(*pair) for pair in zip(value, content, strict=True)]
    return content


def describe(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yields (key, default as JSON, description) for every field, in nested models too.

    In mappings whose keys the user chooses, `NAME` stands for such a key.
    """
    for name, field in model.model_fields.items():
        key, inner = f"{prefix}{_key_of(name, field)}", _model_in(field.annotation)
        named = typing.get_origin(field.annotation) in (dict, Mapping)
        if inner is not None and not named:
            yield from describe(inner, f"{key}.")
            continue
        default = (
            "required"
            if field.is_required()
            else _as_json(field.get_default(call_default_factory=True))
        )
        yield key, default, field.description or ""
        if inner is not None:
            yield from describe(inner, f"{key}.NAME.")


def _as_json(value: Any) -> str:
    """Returns a default as JSON, which is also how it may be written in a YAML file."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if not isinstance(value, BaseModel):
        return str(value)
    return value.model_dump(mode="json", exclude_defaults=True, by_alias=True)


def _allowed_keys(model: Any, keys: Sequence[str]) -> list[str]:
    """Returns the keys of the model at a path of keys, sorted; none if there is no model."""
    section = _model_at(model, keys)
    return sorted(_fields(section)) if section is not None else []


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Returns a model's fields by their keys in configuration files."""
    return {_key_of(name, field): field for name, field in model.model_fields.items()}


def _model_at(model: Any, keys: Sequence[str]) -> Any:
    """Returns the settings model at a path of keys; None if there is none."""
    for key in keys:
        if isinstance(model, type) and issubclass(model, BaseModel) and key in _fields(model):
            model = _model_in(_fields(model)[key].annotation)
        else:
            model = _model_in(model)
    return model if hasattr(model, "model_fields") else None


def _model_in(annotation: Any) -> Any:
    """Returns the settings model inside `Model | None`, `dict[str, Model]` etc.; None without."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    origin = typing.get_origin(annotation)
    if origin in (types.UnionType, typing.Union, dict, tuple, list, Mapping):
        for argument in typing.get_args(annotation):
            inner = _model_in(argument)
            if inner is not None:
                return inner
    return None
