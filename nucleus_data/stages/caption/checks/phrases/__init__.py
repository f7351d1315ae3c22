"""Phrases that checks look for: text files with one regular expression per line.

Letters match in any case. Patterns and texts are lower-cased before they are matched, as `re` takes
twice as long with IGNORECASE: it then tries every alternative in full.
"""

import re
from functools import cache, lru_cache
from pathlib import Path

FOLDER = Path(__file__).parent
_MARKS = re.compile(r"\W*")
_MOST_MARKS = 40  # maximum punctuation at the beginning of an expression, in characters
_STOP = re.compile(r"[.!?\u3002\uff01\uff1f\n]\s*")
_ESCAPE_OR_TEXT = re.compile(r"\\.|[^\\]+")


def at_sentences(pattern: re.Pattern[str], text: str) -> str:
    """Returns a pattern's first match at the beginning of a sentence, with the full stop before it.

    Much faster than a pattern that may match anywhere, as there are few sentences. Empty if nothing
    matches.
    """
    lower = _lower(text)
    for stop, start in _starts(text):
        if match := pattern.match(lower, start):
            return text[stop : match.end()]
    return ""


def anywhere(pattern: re.Pattern[str], text: str) -> str:
    """Returns the first match of a pattern of `phrases` in a text; empty if nothing matches."""
    match = pattern.search(_lower(text))
    return text[match.start() : match.end()] if match else ""


@cache
def phrases(name: str, section: str = "") -> re.Pattern[str]:
    """Compiles all lines of a file's section into one pattern for lower-case texts.

    Args:
        name: The file, without `.txt`.
        section: The section's name, in brackets above its lines; empty for a file without sections.
    """
    pattern = "|".join(lines_of(name)[section])
    # Escapes keep their case: \W is not \w.
    return re.compile(
        _ESCAPE_OR_TEXT.sub(lambda m: m[0] if m[0][0] == "\\" else m[0].lower(), pattern)
    )


@lru_cache(maxsize=16)  # several checks look at the same text
def _starts(text: str) -> tuple[tuple[int, int], ...]:
    """Returns (position of the full stop before it, its beginning) for each sentence."""
    return ((0, 0), *[stop.span() for stop in _STOP.finditer(text)])


@lru_cache(maxsize=16)
def _lower(text: str) -> str:
    """Returns a text in lower case and of equal length: letters that would become two stay."""
    if len(lower := text.lower()) == len(text):
        return lower
    return "".join([small if len(small := letter.lower()) == 1 else letter for letter in text])


def at_opening(name: str, text: str) -> str:
    """Returns what a file's section `opening` matches at the start of a text, or an empty string.

    Punctuation before the match is skipped, and included in the result.
    """
    lower = _lower(text)
    marks = _MARKS.match(lower)
    start = marks.end() if marks else 0
    # An expression may itself begin with punctuation, such as a dash.
    for at in range(start, max(-1, start - _MOST_MARKS), -1):
        if match := phrases(name, "opening").match(lower, at):
            return text[: match.end()]
    return ""


@cache
def lines_of(name: str) -> dict[str, tuple[str, ...]]:
    """Returns the lines of a file by section, with `%NAME%` definitions expanded."""
    sections: dict[str, list[str]] = {}
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
            sections.setdefault(section, []).append(line)
    return {name: tuple(lines) for name, lines in sections.items()}


def words_in(section: str) -> tuple[str, ...]:
    """Returns the words of a section of `words.txt`."""
    return tuple(" ".join(lines_of("words")[section]).split())
