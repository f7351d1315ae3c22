"""Phrases that checks look for: text files with one regular expression per line."""

import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
_MARKS = re.compile(r"\W*")
_STOP = re.compile(r"[.!?\u3002\uff01\uff1f\n]\s*")


def at_sentences(pattern: re.Pattern[str], text: str) -> str:
    """Returns a pattern's first match at the beginning of a sentence, with the full stop before it.

    Much faster than a pattern that may match anywhere, as there are few sentences. Empty if nothing
    matches.
    """
    if found := pattern.match(text):
        return found[0]
    for stop in _STOP.finditer(text):
        if found := pattern.match(text, stop.end()):
            return stop[0] + found[0]
    return ""


@cache
def phrases(name: str, section: str = "") -> re.Pattern[str]:
    """Compiles all lines of a file's section into one pattern.

    Args:
        name: The file, without `.txt`.
        section: The section's name, in brackets above its lines; empty for a file without sections.
    """
    return re.compile(f"(?i)(?:{'|'.join(lines_of(name)[section])})")


def at_opening(name: str, text: str) -> str:
    """Returns what a file's section `opening` matches at the start of a text, or an empty string.

    Punctuation before the match is skipped, and included in the result.
    """
    start = _MARKS.match(text)
    # An expression may itself begin with punctuation, such as a dash.
    for at in range(start.end() if start else 0, -1, -1):
        if found := phrases(name, "opening").match(text, at):
            return text[: found.end()]
    return ""


@cache
def lines_of(name: str) -> dict[str, tuple[str, ...]]:
    """Returns the lines of a file by section, with `%NAME%` definitions expanded."""
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
    """Returns the words of a section of `words.txt`."""
    return tuple(" ".join(lines_of("words")[section]).split())
