"""A folder whose files are served: which of them, of what types, and ranges of their bytes."""

import os
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from nucleus_data.world.http_answers import TEXT, Answer, labelled, plain

KINDS = ("avif", "bmp", "gif", "heic", "jpeg", "png", "tiff", "webp")
TYPES = {f".{kind}": f"image/{kind}" for kind in KINDS}
TYPES |= {".jpg": "image/jpeg", ".tif": "image/tiff", ".json": "application/json"}
TYPES |= {".csv": "text/csv; charset=utf-8", ".txt": TEXT}


class ServedFolder:
    """The files of a folder that are served: nothing hidden, and no link that leads out.

    Attributes:
        path: The folder, links resolved.

    Raises:
        ValueError: There is no such folder.
    """

    def __init__(self, folder: Path | str) -> None:
        self.path = Path(folder).resolve()
        if not self.path.is_dir():
            raise ValueError(f"folder must be an existing folder, got {str(folder)!r}")

    def files(self) -> list[str]:
        """The files served, sorted; those behind a link to a folder are served but not listed."""
        paths = (path.relative_to(self.path).as_posix() for path in self.path.rglob("*"))
        return sorted(file for file in paths if self.find(file))

    def find(self, file: str) -> Path | None:
        """The real path of a file that may be served."""
        parts = file.split("/")
        try:
            found = self.path.joinpath(*parts).resolve(strict=True)
            parts += found.relative_to(self.path).parts
            hidden = any(part.startswith(".") or not part for part in parts)
            served = found.is_file() and not hidden and os.access(found, os.R_OK)
        except (OSError, RuntimeError, ValueError):
            return None  # absent; links in a circle; outside, or a zero byte in the name
        return found if served else None

    def answer(self, file: str, wanted: str | None) -> Answer:
        """The file, the part of it that a `Range` header asks for, 404 or 416.

        Args:
            file: Its path in the folder, with forward slashes.
            wanted: The request's `Range`; None if it has none.
        """
        path, found = quoted(file), self.find(file)
        if found is None:
            return plain(path, 404)
        body = found.read_bytes()
        kind = TYPES.get(found.suffix.lower(), "application/octet-stream")
        answer = Answer(path, 200, {"Content-Type": kind, "Accept-Ranges": "bytes"}, body)
        part = byte_range(wanted, len(body))
        if part is None:
            return answer
        if not part:
            return plain(path, 416, Content_Range=f"bytes */{len(body)}")
        span = f"bytes {part.start}-{part.stop - 1}/{len(body)}"
        body = body[part.start : part.stop]
        return labelled(replace(answer, status=206, body=body), Content_Range=span)


def quoted(file: str) -> str:
    """A file's URL path; a `!` is quoted too, so that no file's name asks for a fault."""
    return "/" + quote(file, errors="surrogateescape")


def byte_range(wanted: str | None, size: int) -> range | None:
    """The bytes that a `Range` header asks for: empty for 416, None for a header to ignore."""
    found = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", (wanted or "").replace(" ", ""))
    if not found or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(size, int(last) + 1) if last else size)
