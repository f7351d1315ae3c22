"""Phrases that checks look for: text files of regular expressions, so that one more is one line.

Letters match in any case. Both a pattern and a text are lower-cased before they are matched: `re`
takes twice as long with IGNORECASE, as it then tries every alternative in full.
"""

import re
from functools import cache, lru_cache
from pathlib import Path

FOLDER = Path(__file__).parent
_MARKS = re.compile(r"\W*")
_STOP = re.compile(r"[.!?\u3002\uff01\uff1f\n]\s*")
_ESCAPE_OR_TEXT = re.compile(r"\\.|[^\\]+")


def at_sentences(pattern: re.Pattern[str], text: str) -> str:
    """What a pattern of `phrases` matches at the first start of a sentence, with the stop before.

    Much faster than one pattern that may match anywhere: there are few sentences. Empty if nothing
    matches.
    """
    lower = _lower(text)
    if found := pattern.match(lower):
        return text[: found.end()]
    for stop in _STOP.finditer(lower):
        if found := pattern.match(lower, stop.end()):
            return text[stop.start() : found.end()]
    return ""


def anywhere(pattern: re.Pattern[str], text: str) -> str:
    """What a pattern of `phrases` matches first in a text; empty if nothing matches."""
    found = pattern.search(_lower(text))
    return text[found.start() : found.end()] if found else ""


@cache
def phrases(name: str, section: str = "") -> re.Pattern[str]:
    """One pattern, for lower-case texts, of all lines of a file's section.

    Args:
        name: The file, without `.txt`.
        section: What stands in brackets above the lines; empty for a file without sections.
    """
    pattern = "|".join(lines_of(name)[section])
    # Escapes keep their case: \W is not \w.
    return re.compile(
        _ESCAPE_OR_TEXT.sub(lambda m: m[0] if m[0][0] == "\\" else m[0].lower(), pattern)
    )


@lru_cache(maxsize=16)  # several checks look at one text
def _lower(text: str) -> str:
    """A text in lower case, of the same length: the few letters that would become two stay."""
    if len(lower := text.lower()) == len(text):
        return lower
    return "".join([small if len(small := letter.lower()) == 1 else letter for letter in text])


def at_opening(name: str, text: str) -> str:
    """What a file's section `opening` matches at a text's beginning, marks before it included."""
    lower = _lower(text)
    start = _MARKS.match(lower)
    # A line may begin with a mark, as a dash.
    for at in range(start.end() if start else 0, -1, -1):
        if found := phrases(name, "opening").match(lower, at):
            return text[: found.end()]
    return ""


@cache
def lines_of(name: str) -> dict[str, tuple[str, ...]]:
    """The lines of a file by section, with what `%NAME%` stands for in its place."""
    found: dict[str, list[str]] = {}
    section, named = "", dict[str, str]()
    for line in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = header[1]
            continue
        line = re.sub(r"%[A-Z]+%", lambda m: named.get(m[0], m[0]), line)
        if defined := re.fullmatch(r"(%[A-Z]+%) = (.+)", line):
            named[defined[1]] = defined[2]
        else:
            found.setdefault(section, []).append(line)
    return {name: tuple(lines) for name, lines in found.items()}


def words_in(section: str) -> tuple[str, ...]:
    """The words of a list in `words.txt`."""
    return tuple(" ".join(lines_of("words")[section]).split())
