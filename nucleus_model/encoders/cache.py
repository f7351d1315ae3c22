"""A cache of arrays or tensors, bounded in bytes, that evicts the least recently used."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """An object that knows its size in bytes: an array or a tensor."""

    @property
    def nbytes(self) -> int:
        """Size in bytes."""


T = TypeVar("T", bound=Sized)


class Cache(Generic[T]):
    """A thread-safe cache by key; the least recently used value is evicted first.

    Args:
        limit: Maximum total size of the values, in bytes.

    Attributes:
        bytes: Current total size of the values, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._values: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.RLock()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str, make: Callable[[], T]) -> T:
        """Returns the value of a key.

        Args:
            key: The key.
            make: Makes the value if it is not cached. A value larger than the limit is not cached.
        """
        with self._lock:  # the trainer and a thread that encodes ahead may call at the same time
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            value = make()
            self._values[key] = value
            self.bytes += value.nbytes
            while self.bytes > self.limit:
                _, oldest = self._values.popitem(last=False)
                self.bytes -= oldest.nbytes
            return value
