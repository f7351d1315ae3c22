r"""Captions as they were written, or the reason why there is none: never a replaced letter.

- Bytes are decoded by their byte-order mark (UTF-8, UTF-16, UTF-32), else as strict UTF-8, else by
  the encoding that `ingest.caption_encoding` names. Nothing is guessed.
- Bytes of which many characters are control characters are no UTF-8: UTF-16 without its mark reads
  as such (`a\0 \0c\0a\0t\0`), and without the control characters other letters would be left.
- Control characters and lone surrogates are taken out. Tabs and line ends stay; the other
  control characters that separate words or lines become spaces.
- A text of more than `MOST_CHARACTERS` is no caption.
"""

import codecs
import re
from dataclasses import dataclass

MOST_CHARACTERS = 100_000
# No caption file is larger: four bytes a character, and what the white space around it may take.
MOST_BYTES = 4 << 20
ENCODING, TOO_LONG = "caption_encoding", "caption_too_long"

# The mark of UTF-32 (little end first) begins with that of UTF-16, so it is looked for first.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SPACES = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")
# One control character in so many is more than a text has by accident.
_ONE_IN = 5


@dataclass(frozen=True)
class Decoded:
    """A caption, or why there is none.

    Attributes:
        text: The caption; None if there is none, an empty one included.
        reason: `caption_encoding` or `caption_too_long`; None if nothing is wrong.
    """

    text: str | None
    reason: str | None = None


def decode(data: bytes, encoding: str | None = None) -> Decoded:
    """The caption that a file's or a member's bytes hold.

    Args:
        data: All of them.
        encoding: What they are in if they have no mark and are no UTF-8; None for nothing else.
    """
    if len(data) > MOST_BYTES:
        return Decoded(None, TOO_LONG)
    text = decoded(data, encoding)
    return Decoded(None, ENCODING) if text is None else caption(text)


def decoded(data: bytes, encoding: str | None = None) -> str | None:
    """Bytes as text, control characters and all; None if their encoding is not known."""
    marked = [(mark, name) for mark, name in MARKS if data.startswith(mark)]
    for mark, name in marked:
        if (text := _strict(data[len(mark) :], name)) is not None:
            return text
    if marked:
        return None
    text = _strict(data, "utf-8")
    if text is not None and _is_text(text):
        return text
    return _strict(data, encoding) if encoding else None


def caption(text: str) -> Decoded:
    """A caption that came as text: without control characters, surrogates and outer spaces."""
    text = cleaned(text).strip()
    if len(text) > MOST_CHARACTERS:
        return Decoded(None, TOO_LONG)
    return Decoded(text or None)


def cleaned(text: str) -> str:
    """A text without control characters and lone surrogates; tabs and line ends stay."""
    return _CONTROLS.sub("", _SPACES.sub(" ", text))


def _strict(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeError:
        return None


def _is_text(text: str) -> bool:
    """Whether so few of a text's characters are control characters that it is one."""
    # Fixed-width fields end in NULs; these say nothing of the encoding.
    inner = text.strip("\0 \t\r\n")
    return len(_CONTROLS.findall(inner)) * _ONE_IN <= len(inner)
