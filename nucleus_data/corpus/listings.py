"""A cache of folder listings, used only while slightly outdated listings are acceptable."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")


class Listings:
    """Lists folders of a store, with a cache that is on only inside `once`.

    Args:
        ask: Lists a folder: returns the names in it.
    """

    def __init__(self, ask: Callable[[str], list[str]]) -> None:
        self._ask = ask
        self._known: dict[str, str] | None = None
        self._lock = Lock()
        self._locks: dict[str, Lock] = {}
        self._made: dict[str, Any] = {}

    @property
    def remembered(self) -> bool:
        """Whether the cache is on."""
        return self._known is not None

    @contextmanager
    def once(self) -> Iterator[None]:
        """Turns the cache on inside the context.

        Listing a folder of 200,000 parts takes an object store 6 s. Inside, files written by other
        processes may not be seen; files written through the same `Store` are.
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
        """Returns the names in a folder."""
        if not self.remembered:
            return self._ask(folder)
        found = self._text(folder).strip("\n")
        return found.split("\n") if found else []

    def fetch(self, folder: str) -> None:
        """Lists a folder into the cache, if it is on."""
        if self.remembered:
            self._text(folder)

    def lacks(self, folder: str, name: str) -> bool:
        """Whether the cached listing of a folder has no such name."""
        return f"\n{name}\n" not in self._text(folder)

    def made(self, name: str, make: Callable[[], T]) -> T:
        """Returns `make()`, a value derived from listings; cached as long as these are.

        Args:
            name: The value's key in the cache.
            make: Computes the value.
        """
        if not self.remembered:
            return make()
        if name not in self._made:
            self._made[name] = make()
        found: T = self._made[name]
        return found

    def made_before(self, name: str) -> Any:
        """Returns the value that `made` cached under a name; None if there is none."""
        return self._made.get(name)

    def forget(self) -> None:
        """Clears the cache, since something was written."""
        if self._known is not None:
            self._known.clear()
            self._made.clear()

    def _text(self, folder: str) -> str:
        """Returns a folder's names as one text, separated and enclosed by newlines.

        A list would take four times the memory.
        """
        known = {} if self._known is None else self._known
        with self._lock:
            folder_lock = self._locks.setdefault(folder, Lock())
        with folder_lock:  # so that threads that need the same folder list it only once
            if (text := known.get(folder)) is None:
                text = known[folder] = "".join(f"\n{n}" for n in self._ask(folder)) + "\n"
            return text
