"""Parses YAML strictly: duplicate keys and huge documents are errors, each of one line."""

from typing import Any

import yaml

MOST_VALUES = 100_000  # in a document, with its aliases expanded
TOO_DEEP = "brackets or indents are nested too deeply"


class TooDeepError(ValueError):
    """Brackets or indents are nested too deeply.

    A class of its own, as other text that is not valid YAML can be meant as plain text (SQL).
    """


def parsed(text: str) -> Any:
    """Parses a YAML text to a value; None for an empty text.

    Raises:
        TooDeepError: It is nested too deeply.
        ValueError: It is not valid YAML, has a key twice, or is too large; one line.
    """
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
    except (yaml.YAMLError, ValueError) as error:  # a bad character, a date such as 2024-99-99
        raise ValueError(" ".join(str(error).split())) from error
    except (LookupError, TypeError, ArithmeticError, AttributeError) as error:
        # PyYAML's constructors do not check their input: `!!int ''` raises IndexError.
        raise ValueError("a value does not match its tag (!!...)") from error


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A loader that rejects duplicate keys, where PyYAML would drop the first value silently."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Constructs a mapping; raises ConstructorError if a key occurs twice."""
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value!r} appears twice; keep one",
                    problem_mark=key.start_mark,
                )
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def _check_size(node: yaml.Node) -> None:
    """Rejects documents that become huge when aliases of aliases are expanded.

    Raises:
        ValueError: The document has more than `MOST_VALUES` values, or an alias contains itself.
    """
    if _written_out(node, {}) > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES:,} values")


def _written_out(node: yaml.Node, known: dict[int, int]) -> int:
    """Counts the values of a node with its aliases expanded.

    Args:
        node: The parsed node.
        known: `id` of a node -> its count. It is 0 while the node is being counted, so that a node
            that contains itself is noticed.

    Raises:
        ValueError: The node contains itself.
    """
    if id(node) in known:
        if not known[id(node)]:
            raise ValueError("an alias contains itself")
        return known[id(node)]
    known[id(node)] = 0
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        inner = node.value
    elif isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    known[id(node)] = 1 + sum(_written_out(part, known) for part in inner)
    return known[id(node)]
