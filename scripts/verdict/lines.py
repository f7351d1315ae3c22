"""A JSON line a finished comparison: what is there is not done again.

    done = Lines(Path("selftest/lines.jsonl"))
    done.add({"key": "aa/0", ...})

A line is written by one write and synced, and one that a kill cut short is cut off: its comparison
is done again.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class Lines:
    """The lines of a file, by their key.

    Args:
        file: Need not be there.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._found: dict[str, dict[str, Any]] = {}
        if not file.exists():
            return
        content = file.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(file, len(whole))
        for text in whole.splitlines():
            line = json.loads(text)
            self._found[line["key"]] = line

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yields the lines in the order in which they were added."""
        return iter(self._found.values())

    def add(self, line: Mapping[str, Any]) -> None:
        """Appends a line; it has a `key`."""
        text = json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, text.encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        self._found[line["key"]] = json.loads(text)
