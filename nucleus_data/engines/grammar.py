"""Constrains answers to a JSON schema: reads the schema, makes a grammar, and checks answers.

JSON allows any amount of white space between two values, and models that have nothing more to say
fill their answer with it. So the grammar bounds it, if the engine accepts a grammar. `follows`
detects answers that violate the schema, because they were cut or because a server applies no
grammar.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nucleus_data.errors import RequestError

WHITE_SPACE = 2  # maximum number of white-space characters between two values
MOST_BYTES = 200_000


def read_schema(source: str | Path | Mapping[str, Any], where: str) -> str:
    """Reads and checks a JSON schema.

    Args:
        source: Path of a file, or the schema itself.
        where: Name of the setting with the schema, for messages.

    Returns:
        The schema as JSON, which does not depend on white space in the file.

    Raises:
        RequestError: The file can't be read, or is not a JSON schema of an object or an array.
    """
    if isinstance(source, Mapping):
        schema: Any = source
    else:
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise RequestError(f"{where}: {source} can't be read: {error}") from None
        try:
            schema = json.loads(text)
        except ValueError as error:
            raise RequestError(f"{where}: {source} is not valid JSON: {error}") from None
    return check_schema(schema, where)


def check_schema(schema: Any, where: str) -> str:
    """Checks a JSON schema that is already parsed; otherwise like `read_schema`."""
    if not isinstance(schema, Mapping):
        raise RequestError(f"{where}: a JSON schema must be an object, got {type(schema).__name__}")
    try:
        text = json.dumps(schema, sort_keys=False, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError) as error:
        raise RequestError(f"{where}: the schema can't be written as JSON: {error}") from None
    if len(text.encode()) > MOST_BYTES:
        raise RequestError(f"{where}: the schema exceeds the maximum of {MOST_BYTES} bytes")
    from jsonschema import SchemaError, validators

    try:
        validators.validator_for(schema).check_schema(schema)
    except SchemaError as error:
        raise RequestError(
            f"{where}: not a valid JSON schema, at {error.json_path}: {error.message}"
        ) from None
    if outside := _references(schema):
        raise RequestError(
            f"{where}: $ref {outside[0]!r} refers to another file; references must begin with #"
        )
    # Only objects and arrays can contain white space, whose bound is the purpose of the grammar.
    if schema.get("type") not in ("object", "array"):
        raise RequestError(
            f"{where}: the schema's type must be object or array, got {schema.get('type')!r}"
        )
    return text


def bounded_grammar(schema: str) -> str:
    """Returns a grammar, in xgrammar's EBNF, of the answers that follow a schema.

    Between two values, it allows at most `WHITE_SPACE` white-space characters.

    Args:
        schema: JSON schema, from `read_schema`.
    """
    return _grammar(schema)


@functools.lru_cache(maxsize=64)
def _grammar(schema: str) -> str:
    import xgrammar

    return str(
        xgrammar.Grammar.from_json_schema(
            schema, any_whitespace=True, max_whitespace_cnt=WHITE_SPACE
        )
    )


def follows(text: str, schema: str) -> str | None:
    """Returns the reason why an answer does not follow a schema; None if it does.

    Args:
        text: The answer.
        schema: JSON schema, from `read_schema`.
    """
    try:
        answer = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        return f"no JSON: {error}"
    try:
        wrong = next(iter(_validator(schema).iter_errors(answer)), None)
    except RecursionError:
        return "nested too deep to be checked"
    return None if wrong is None else f"at {wrong.json_path}: {wrong.message[:500]}"


@functools.lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    from jsonschema import validators

    content = json.loads(schema)
    return validators.validator_for(content)(content)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes a dictionary; ValueError if a key is repeated, as parsers use different values then."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} occurs twice")
    return found


def _references(part: Any) -> list[str]:
    """Returns the references of a schema to other files."""
    if isinstance(part, Mapping):
        own = part.get("$ref")
        found = [own] if isinstance(own, str) and not own.startswith("#") else []
        return found + [one for value in part.values() for one in _references(value)]
    return [one for value in part for one in _references(value)] if isinstance(part, list) else []


def check_grammar(schema: str, where: str) -> None:
    """Rejects a schema that xgrammar does not support, if xgrammar is installed; imports torch.

    Args:
        schema: JSON schema, from `read_schema`.
        where: Name of the setting with the schema, for messages.

    Raises:
        RequestError: xgrammar can't make a grammar of the schema.
    """
    try:
        _grammar(schema)
    except ImportError:
        return
    except Exception as error:  # RuntimeError for anything that xgrammar does not support
        first = str(error).splitlines()[-1][:300]
        raise RequestError(
            f"{where}: the schema can't be turned into a grammar (xgrammar: {first})"
        ) from None
