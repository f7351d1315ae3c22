"""The prompts that have a name, each version a file; a configuration may give texts of its own.

A prompt that is once in the package never changes: `prompts/short@1.txt` is version 1 of `short`,
and another wording is another file. A name without a version is version 1, so that no newer
package changes a caption. A prompt may have a JSON schema beside it, `attributes@1.json`.
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
# Name and version -> the text; the file's last line end is no part of it.
VERSIONS: dict[str, str] = {
    path.stem: path.read_text(encoding="utf-8").removesuffix("\n")
    for path in sorted(FOLDER.glob("*@*.txt"))
}
# Name -> the text of its version 1.
PROMPTS: dict[str, str] = {
    name.removesuffix(FIRST): text for name, text in VERSIONS.items() if name.endswith(FIRST)
}
PLACEHOLDER = "{caption}"
NOTHING = "nothing"
INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs")  # Unicode's categories
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9_]+)(@(?P<version>[0-9]+))?")


@dataclass(frozen=True)
class Prompt:
    """What a model is asked.

    Attributes:
        name: With its version, `short@1`; of a file of the user's own, its path.
        text: The text, perhaps with places.
        schema: JSON schema, as JSON, that comes with it.
    """

    name: str
    text: str
    schema: str | None = None


def find_prompt(named: str) -> Prompt:
    """A prompt by its name (`short`, `short@1`) or the path of a file (`my/short.txt`).

    Args:
        named: A name without a version is version 1.

    Raises:
        ValueError: There is none, or the file can't be read.
    """
    if "/" in named or "\\" in named or named.endswith(".txt"):
        return Prompt(named, read_text(named, "a prompt's text"))
    matched = _NAMED.fullmatch(named)
    if matched is None or matched["name"] not in PROMPTS:
        raise ValueError(
            f"prompt {named!r} has no text; give one as text, name a file (my/prompt.txt), or use"
            f" one of {', '.join(PROMPTS)}.{nearest(named, PROMPTS)}"
        )
    name, version = matched["name"], int(matched["version"] or 1)
    if (full := f"{name}@{version}") not in VERSIONS:
        known = ", ".join(f"{name}@{each}" for each in versions(name))
        raise ValueError(f"prompt {named!r} is no version of {name}; there are: {known}")
    # By its name where it is version 1: `PROMPTS` is what the package and its model know.
    text = PROMPTS[name] if version == 1 else VERSIONS[full]
    beside = FOLDER / f"{full}.json"
    schema = schema_text(beside.read_text(encoding="utf-8")) if beside.is_file() else None
    return Prompt(full, text, schema)


def versions(name: str) -> list[int]:
    """The versions of a prompt of the package, oldest first."""
    return sorted(int(full.split("@")[1]) for full in VERSIONS if full.split("@")[0] == name)


def schema_text(given: str | Mapping[str, object]) -> str:
    """A JSON schema as JSON in one line; the order of its keys stays, as answers follow it.

    Args:
        given: JSON, or what it stands for.

    Raises:
        ValueError: It is no JSON, or no schema of an object.
    """
    try:
        found = json.loads(given) if isinstance(given, str) else given
        text = json.dumps(found, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the schema is no JSON: {error}") from None
    if not isinstance(found, Mapping) or found.get("type") != "object":
        raise ValueError('the schema must be of an object: {"type": "object", "properties": {...}}')
    try:
        check_schema(found, "the schema")
    except RequestError as error:
        raise ValueError(str(error)) from None
    return text


def read_text(path: str, what: str) -> str:
    """A user's file, without its last line end.

    Args:
        path: Of the file, as the configuration names it.
        what: What it should hold, for people.

    Raises:
        ValueError: It can't be read, is no UTF-8, or has nothing visible.
    """
    try:
        # A byte-order mark, as some editors write it, is no part of the text.
        text = located(Path(path)).read_text(encoding="utf-8-sig").removesuffix("\n")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"{path} can't be read: {reason}; give a file with {what}") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None
    if not visible(text):
        raise ValueError(f"{path} is empty; give a file with {what}")
    return text


def question(text: str, caption: str | None) -> str:
    """What the model is asked: the text, with the record's caption in its place.

    Args:
        text: A prompt, with or without `{caption}`.
        caption: The record's; None, or one without a visible character, reads as `nothing`.

    Returns:
        The text. The caption's own braces stay as they are.
    """
    return filled(text, {"caption": caption.strip() if caption and visible(caption) else NOTHING})


def visible(text: str) -> bool:
    """Whether a text has a character that can be seen: no space, control character or mark."""
    return any(unicodedata.category(character) not in INVISIBLE for character in text)
