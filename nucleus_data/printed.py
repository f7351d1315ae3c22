"""Makes untrusted text (file names, URLs, captions, error details) safe to print and to store.

In a terminal, control characters can move the cursor, set the title or hide the text that follows;
bidirectional overrides reverse letters; and line ends can forge lines of output.
"""

import re
import unicodedata
from typing import Any

# Zero-width joiners and non-joiners belong to Persian, Indic scripts and emoji, and hide nothing.
JOINERS = "\u200c\u200d"
HIDDEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
SUSPECT = re.compile(r"[^ -~]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def visible(text: str, keep: str = "") -> str:
    r"""Escapes each character that a terminal would interpret, for example as `\x1b`.

    Args:
        text: Any text.
        keep: Characters to keep, for example `"\n"` where several lines are intended.
    """
    kept = {*JOINERS, *keep}
    return SUSPECT.sub(lambda match: match[0] if match[0] in kept else _shown(match[0]), text)


def has_surrogate(text: str) -> bool:
    """Returns whether a text has a lone surrogate: half a character, or a byte that is not UTF-8.

    Python decodes such bytes in arguments and file names to surrogates. Nothing else accepts the
    text: no Parquet file, no DuckDB, no tokenizer, no terminal.
    """
    return _SURROGATE.search(text) is not None


def text_of(data: bytes) -> str:
    """Returns bytes as text if they are printable UTF-8; else as hex digits."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data.hex()
    return text if text == visible(text) else data.hex()


def jsonable(value: Any) -> Any:
    """Converts a value to one that `json.dumps` and every JSON reader accept.

    Bytes and other objects become text, and so do NaN and the infinities, which JSON lacks.
    """
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, bytes):
        return text_of(value)
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # nan and the infinities
    return value if value is None or isinstance(value, str | int) else str(value)


def _shown(character: str) -> str:
    if unicodedata.category(character) not in HIDDEN:
        return character
    code = ord(character)
    if code < 0x100:
        return {"\n": r"\n", "\t": r"\t", "\r": r"\r"}.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def amount(size: float) -> str:
    """Returns a size in bytes for people: `812 B`, `1.23 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def counted(number: int, one: str, several: str = "") -> str:
    """Formats a count: `1 copy`, `2 copies`; by default the plural ends with an s."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"
