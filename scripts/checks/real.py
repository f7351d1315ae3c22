"""Captions that people wrote, for false alarms: stamps in their languages, openclipart, emoji."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from nucleus_data.world.scenes import scene
from nucleus_data.world.words import captions

# Codes of the stamps' languages as py3langid has them; others are checked without a language.
CODES = {"pt_BR": "pt", "zh_CN": "zh", "zh_TW": "zh", "nb": "no", "nn": "no"}
CODES |= {"en_AU": "en", "en_GB": "en"}
_KNOWN = (
    "ar bg ca cs da de el en es fi fr he hi hu id it ja ko lv nl no pl pt ro ru sk sv th tr uk vi"
)
KNOWN = frozenset(f"{_KNOWN} zh".split())
_LINE = re.compile(r"([a-zA-Z@_]+)\.utf8=(.*)")
WORLD = 92_000


def stamps(folder: Path) -> Iterator[tuple[str, str | None]]:
    """Captions of a tree of Tux Paint's stamps, each with its language if that is checked."""
    for file in sorted(folder.rglob("*.txt")):
        for number, line in enumerate(file.read_text("utf-8", "replace").splitlines()):
            found = _LINE.match(line)
            code, text = ("en", line) if number == 0 else found.groups() if found else ("", "")
            code = CODES.get(code, code)
            if text.strip():
                yield text.strip(), code if code in KNOWN else None


def drawings(folder: Path) -> Iterator[tuple[str, str | None]]:
    """Titles and descriptions of openclipart's PNG files; most are English."""
    for file in sorted(folder.rglob("*.png")):
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
                told = dict(image.text)  # type: ignore[attr-defined]
        except (OSError, AttributeError, Image.DecompressionBombError):
            continue
        for name in ("Title", "Description"):
            if text := str(told.get(name, "")).strip():
                yield text, None


def emoji(folder: Path) -> Iterator[tuple[str, str | None]]:
    """Names of emoji, from `scripts/get_emoji`."""
    for file in sorted(folder.glob("*.txt")):
        yield file.read_text(encoding="utf-8").strip(), None


def world(count: int = 3000, first: int = 0) -> Iterator[tuple[str, str | None]]:
    """True captions of some scenes of the world, all five lengths."""
    for index in range(first, first + count):
        for text in captions(scene(WORLD, index, "full")).values():
            yield text, "en"


READERS = {"stamps": stamps, "drawings": drawings, "emoji": emoji}
