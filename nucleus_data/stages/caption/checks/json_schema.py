"""The check `invalid_json`: the answer is not JSON, or violates the variant's schema."""

import json
from functools import lru_cache
from typing import Any, ClassVar, NoReturn

from nucleus_data.stages.caption.checks.check import Check, Said
from nucleus_data.stages.caption.checks.text import shortened


class InvalidJson(Check):
    """Not JSON, or JSON that violates the variant's schema."""

    name: ClassVar[str] = "invalid_json"
    rank: ClassVar[int] = 25

    def find(self, said: Said) -> str | None:
        """Parses the answer, and validates it with jsonschema."""
        if said.schema is None:
            return None
        try:
            answer = json.loads(said.text, parse_constant=_no_number, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            return f"it is not JSON ({error}): {shortened(said.text)!r}"
        try:
            problem = next(_validator(said.schema).iter_errors(answer), None)
        except RecursionError:
            return f"it is nested too deep to be checked: {shortened(said.text)!r}"
        if problem is None:
            return None
        return f"{problem.json_path}: {shortened(problem.message)}"


@lru_cache(maxsize=32)
def _validator(schema: str) -> Any:
    from jsonschema import validators

    content = json.loads(schema)
    return validators.validator_for(content)(content)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Builds an object. Raises ValueError on duplicate keys, which parsers treat differently."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("an object has a key twice")
    return content
