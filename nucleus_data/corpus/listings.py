"""Listings of folders, remembered for as long as nobody minds that they are from a moment ago."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")


class Listings:
    """What folders of a store hold.

    Args:
        ask: Lists a folder.
    """

    def __init__(self, ask: Callable[[str], list[str]]) -> None:
        self._ask = ask
        self._known: dict[str, str] | None = None
        self._lock = Lock()
        self._locks: dict[str, Lock] = {}
        self._made: dict[str, Any] = {}

    @property
    def remembered(self) -> bool:
        """Whether listings are remembered now."""
        return self._known is not None

    @contextmanager
    def once(self) -> Iterator[None]:
        """Remembers listings inside: a folder of 200,000 parts takes an object store 6 s to list.

        What others write meanwhile is not seen; what is written through the same store is.
        """
        if self.remembered:
            yield
            return
        self._known = {}
        try:
            yield
        finally:
            self._made.clear()
            self._known = None

    def names(self, folder: str) -> list[str]:
        """What lies in a folder."""
        if not self.remembered:
            return self._ask(folder)
        found = self._text(folder).strip("\n")
        return found.split("\n") if found else []

    def fetch(self, folder: str) -> None:
        """Lists a folder, where listings are remembered, for those who ask later."""
        if self.remembered:
            self._text(folder)

    def lacks(self, folder: str, name: str) -> bool:
        """Whether a folder, as it is remembered, has no such name."""
        return f"\n{name}\n" not in self._text(folder)

    def made(self, name: str, make: Callable[[], T]) -> T:
        """What is made of listings: once, for as long as they are remembered."""
        if not self.remembered:
            return make()
        if name not in self._made:
            self._made[name] = make()
        found: T = self._made[name]
        return found

    def made_before(self, name: str) -> Any:
        """What `made` returned; None if it was not asked."""
        return self._made.get(name)

    def forget(self) -> None:
        """Has all folders be listed anew: something was written."""
        if self._known is not None:
            self._known.clear()
            self._made.clear()

    def _text(self, folder: str) -> str:
        """A folder's names, a line each: one text, as a list would be four times as large."""
        known = {} if self._known is None else self._known
        with self._lock:
            mine = self._locks.setdefault(folder, Lock())
        with mine:  # several threads may ask about one folder, which is listed once
            if (found := known.get(folder)) is None:
                found = known[folder] = "".join(f"\n{n}" for n in self._ask(folder)) + "\n"
            return found
