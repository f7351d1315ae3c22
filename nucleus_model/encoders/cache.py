"""A cache of arrays or tensors that is bounded in bytes and drops the least recently used."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What knows its size in bytes: an array or a tensor."""

    @property
    def nbytes(self) -> int:
        """Size in bytes."""


T = TypeVar("T", bound=Sized)


class Cache(Generic[T]):
    """Keeps values by key; the one that was asked for longest ago leaves first.

    Args:
        limit: Memory for values, in bytes.

    Attributes:
        bytes: Memory that the values take now.
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
            make: Makes the value if it is not there. One larger than the limit is not kept.
        """
        with self._lock:  # a thread that encodes ahead asks beside the trainer
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
