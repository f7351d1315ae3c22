"""Text of the outside (file names, URLs, captions, error details) as a terminal may print it.

A control character would move the cursor, set the title or hide what follows; a bidirectional
override would turn the letters around; a line end would begin a line that nobody said.
"""

import re
import unicodedata
from typing import Any

# Joiners are letters' own in Persian, in Indic scripts and in emoji, and hide nothing.
JOINERS = "\u200c\u200d"
HIDDEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
SUSPECT = re.compile(r"[^ -~]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def visible(text: str, keep: str = "") -> str:
    r"""The text with each character that a terminal would obey written out, as `\x1b`.

    Args:
        text: Any text.
        keep: Characters that stay, for example `"\n"` where several lines are meant.
    """
    kept = {*JOINERS, *keep}
    return SUSPECT.sub(lambda match: match[0] if match[0] in kept else _shown(match[0]), text)


def has_surrogate(text: str) -> bool:
    """Whether a lone surrogate is in a text: half a letter, or a byte that is no UTF-8.

    Python makes them of such bytes in arguments and file names. Nothing else takes such a text:
    no Parquet file, no DuckDB, no tokenizer, no terminal.
    """
    return _SURROGATE.search(text) is not None


def text_of(data: bytes) -> str:
    """Bytes as a person reads them: their text, if they are one; else hex digits."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data.hex()
    return text if text == visible(text) else data.hex()


def jsonable(value: Any) -> Any:
    """What `json.dumps` takes, and any reader of JSON: bytes as text, no number that JSON lacks."""
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
    """Bytes as a person reads them: `812 B`, `1.23 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
