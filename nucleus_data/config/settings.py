"""Settings models: how they are filled, what their errors say, and what of them enters a hash."""

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
# Of a field (`json_schema_extra`): another value changes how the work is done, and no result of it.
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
        # What a section's settings say together: the message names those that do not fit.
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
            if problem["type"] == "secret":  # what was given may be a key: it is not repeated
                lines.append(f"{name}: {message}")
            elif together:
                lines.append(f"{name}: {message} ({origin})")
            else:
                lines.append(f"{name}: {message}; got {shown(problem.get('input'))} ({origin})")
    return "\n".join(lines)


def _moved(model: type[BaseModel], keys: Sequence[str]) -> str | None:
    """Where a key went that was in a section before (`moved` in `json_schema_extra`)."""
    section = _model_at(model, keys[:-1])
    extra = section.model_config.get("json_schema_extra") if section is not None else None
    moved = extra.get("moved") if isinstance(extra, dict) else None
    place = moved.get(keys[-1]) if isinstance(moved, dict) else None
    return place if isinstance(place, str) else None


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
    content = settings.model_dump(mode="json", exclude=left_out, by_alias=True)
    for name, field in type(settings).model_fields.items():
        if (key := _key_of(name, field)) in content:
            content[key] = _without_added(getattr(settings, name), content[key])
    return content


def _key_of(name: str, field: FieldInfo) -> str:
    """A field's key in a configuration, where Python has another meaning for that word."""
    return field.alias or name


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
    """Every key with its default and its sentence, those of inner models too.

    Of what has names of the user's choice, the keys of each are told once, as those of `NAME`.
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
    """A default as it stands in a YAML file, which JSON is, too."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if not isinstance(value, BaseModel):
        return str(value)
    return value.model_dump(mode="json", exclude_defaults=True, by_alias=True)


def _allowed_keys(model: Any, keys: Sequence[str]) -> list[str]:
    """The keys that the model at the end of a path of keys has, sorted."""
    found = _model_at(model, keys)
    return sorted(_fields(found)) if found is not None else []


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """A model's fields by their keys in a configuration."""
    return {_key_of(name, field): field for name, field in model.model_fields.items()}


def _model_at(model: Any, keys: Sequence[str]) -> Any:
    """The settings model at the end of a path of keys; None if there is none."""
    for key in keys:
        if isinstance(model, type) and issubclass(model, BaseModel) and key in _fields(model):
            model = _model_in(_fields(model)[key].annotation)
        else:
            model = _model_in(model)
    return model if hasattr(model, "model_fields") else None


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
