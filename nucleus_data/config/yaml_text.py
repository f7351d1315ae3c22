"""YAML texts as values: each key once, of bounded size, and whatever is wrong in one line."""

from typing import Any

import yaml

MOST_VALUES = 100_000  # aliases written out
TOO_DEEP = "brackets or indents are nested too deeply"


class TooDeepError(ValueError):
    """Brackets or indents are nested too deeply; it is no text that happens not to be YAML."""


def parsed(text: str) -> Any:
    """The value that a YAML text is of. Raises ValueError, in one line."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_size(node)
        return loader.construct_document(node)
    except RecursionError as error:
        raise TooDeepError(TOO_DEEP) from error
    except yaml.MarkedYAMLError as error:
        if "nesting" in str(error.problem):  # libyaml's own limit
            raise TooDeepError(TOO_DEEP) from error
        mark = error.problem_mark
        where = f", in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{error.problem or error.context}{where}") from error
    except (yaml.YAMLError, ValueError) as error:  # of a character, of a date such as 2024-99-99
        raise ValueError(" ".join(str(error).split())) from error
    except (LookupError, TypeError, ArithmeticError, AttributeError) as error:
        # PyYAML's constructors raise whatever they meet: `!!int ''` has no first letter.
        raise ValueError("a value does not fit its tag (!!...)") from error


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
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


def _check_size(node: yaml.Node) -> None:
    """Refuses aliases of aliases that stand for more than any configuration holds.

    Raises:
        ValueError: They do, or one stands for what it is a part of.
    """
    if _written_out(node, {}) > MOST_VALUES:
        raise ValueError(f"it holds more than {MOST_VALUES:,} values")


def _written_out(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node holds, those of its aliases as often as they are there.

    Args:
        node: As it was parsed.
        known: By `id`, of nodes that were seen; 0 while it is counted, which a node in itself sees.

    Raises:
        ValueError: It holds itself.
    """
    if id(node) in known:
        if not known[id(node)]:
            raise ValueError("an alias stands for what it is a part of")
        return known[id(node)]
    known[id(node)] = 0
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        inner = node.value
    elif isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    known[id(node)] = 1 + sum(_written_out(part, known) for part in inner)
    return known[id(node)]
