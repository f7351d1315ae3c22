"""Built-in prompts, one file per version; configurations may also give texts of their own.

A released prompt never changes: `prompts/short@1.txt` is version 1 of `short`, and a new wording is
a new file. A name without a version means version 1, so that upgrading the package changes no
caption. A prompt may have a JSON schema beside it, `attributes@1.json`.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nucleus_data.config import located, nearest
from nucleus_data.engines.grammar import check_schema
from nucleus_data.errors import RequestError
from nucleus_data.stages.caption.places import filled

FOLDER = Path(__file__).with_suffix("")  # the folder `prompts` beside this module
FIRST = "@1"
# NAME@VERSION -> the text, without the file's trailing newline.
VERSIONS: dict[str, str] = {
    path.stem: path.read_text(encoding="utf-8").removesuffix("\n")
    for path in sorted(FOLDER.glob("*@*.txt"))
}
# NAME -> the text of version 1.
PROMPTS: dict[str, str] = {
    name.removesuffix(FIRST): text for name, text in VERSIONS.items() if name.endswith(FIRST)
}
NOTHING = "nothing"
INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs")  # Unicode categories
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9_]+)(@(?P<version>[0-9]+))?")


@dataclass(frozen=True)
class Prompt:
    """What a model is asked.

    Attributes:
        name: The name with its version, `short@1`; for a user's file, its path.
        text: The text, possibly with placeholders.
        schema: JSON schema for the answer, as JSON, if there is one.
    """

    name: str
    text: str
    schema: str | None = None


def find_prompt(named: str) -> Prompt:
    """Finds a prompt by its name (`short`, `short@1`) or the path of a file (`my/short.txt`).

    Args:
        named: The name or path; a name without a version means version 1.

    Raises:
        ValueError: There is no such prompt, or the file can't be read.
    """
    if "/" in named or "\\" in named or named.endswith(".txt"):
        return Prompt(named, read_text(named, "a prompt's text"))
    matched = _NAMED.fullmatch(named)
    if matched is None or matched["name"] not in PROMPTS:
        raise ValueError(
            f"unknown prompt {named!r}; give its text, name a file (my/prompt.txt), or use one of"
            f" {', '.join(PROMPTS)}.{nearest(named, PROMPTS)}"
        )
    name, version = matched["name"], int(matched["version"] or 1)
    if (full := f"{name}@{version}") not in VERSIONS:
        known = ", ".join(f"{name}@{each}" for each in versions(name))
        raise ValueError(f"there is no prompt {named!r}; available: {known}")
    # Version 1 is looked up by name, as the nano model is trained on the texts in `PROMPTS`.
    text = PROMPTS[name] if version == 1 else VERSIONS[full]
    beside = FOLDER / f"{full}.json"
    schema = schema_text(beside.read_text(encoding="utf-8")) if beside.is_file() else None
    return Prompt(full, text, schema)


def versions(name: str) -> list[int]:
    """Returns the versions of a built-in prompt, oldest first."""
    return sorted(int(full.split("@")[1]) for full in VERSIONS if full.split("@")[0] == name)


def schema_text(given: str | Mapping[str, object]) -> str:
    """Serializes a JSON schema in one line, keeping the order of keys, which answers follow.

    Args:
        given: The schema, as JSON text or parsed.

    Raises:
        ValueError: It is not JSON, or not the schema of an object.
    """
    try:
        schema = json.loads(given) if isinstance(given, str) else given
        text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the schema is not valid JSON: {error}") from None
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        raise ValueError(
            'the schema must describe an object: {"type": "object", "properties": {...}}'
        )
    try:
        check_schema(schema, "the schema")
    except RequestError as error:
        raise ValueError(str(error)) from None
    return text


def read_text(path: str, what: str) -> str:
    """Reads a user's file, without its trailing newline.

    Args:
        path: The file's path, as the configuration gives it.
        what: What it should contain, for messages.

    Raises:
        ValueError: It can't be read, is not UTF-8, or has nothing visible.
    """
    try:
        # A byte-order mark, as some editors write it, is no part of the text.
        text = located(Path(path)).read_text(encoding="utf-8-sig").removesuffix("\n")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"{path} can't be read: {reason}; give a file with {what}") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None
    if not visible(text):
        raise ValueError(f"{path} is empty; give a file with {what}")
    return text


def question(text: str, caption: str | None) -> str:
    """Substitutes the record's caption for `{caption}` in a prompt.

    Args:
        text: A prompt, with or without `{caption}`.
        caption: The record's caption; None, or one without visible characters, gives `nothing`.

    Returns:
        The question. Braces within the caption stay as they are.
    """
    return filled(text, {"caption": caption.strip() if caption and visible(caption) else NOTHING})


def visible(text: str) -> bool:
    """Whether a text has a character that is no space, control or format character."""
    return any(unicodedata.category(character) not in INVISIBLE for character in text)
