"""Reading a file of encoded values (`encoded`) by ranges.

file = EncodedFile(store, name, "fp32")     # two requests: its beginning, its end
file.get(key)                               # one
begun = read_together([(file, number), ...])   # neighbours joined
"""

import bisect
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from nucleus_data.corpus.damaged import damaged, reading
from nucleus_data.corpus.ranges import joined
from nucleus_data.corpus.store import Store
from nucleus_data.sets.encoded import CHECK, DTYPES, KEY, SMALL, Value, check_of, header, written

HEAD = 64 << 10  # read at once: the header, and the starts of some thousands of values
MOST_HEADER = 1 << 20
GAP = 64 << 10  # a request costs more than the bytes between two wanted values
BLOCK = 8 << 20  # most bytes of a request, but for a larger value


class EncodedFile:
    """A file of encoded values, without these in memory.

    Args:
        store: The store that holds it.
        name: Its path there.
        dtype: What its numbers must be; None for whatever they are.
        texts: Whether it has text states.

    Attributes:
        dtype: What they are.
        row: The shape of a row.
        starts: int64 (N + 1): where each value begins, in rows.
        keys, checks, cut: As the tensors.

    Raises:
        FileNotFoundError: It is not there.
        DamagedError: It is not such a file.
    """

    def __init__(
        self, store: Store, name: str, dtype: str | None = None, *, texts: bool = False
    ) -> None:
        self.store, self.name, self.texts = store, name, texts
        self._head = store.read_range(name, 0, HEAD)
        with reading(store, name):
            size = int.from_bytes(self._head[:8], "little")
            if not 0 < size <= MOST_HEADER or (8 + size > len(self._head) and self._is_whole()):
                raise damaged(store, name, "its header is not one of safetensors")
            self._at = 0
            self._head_bytes = self._bytes(0, 8 + size)
            self._at = 8 + size
            self._read(json.loads(self._head_bytes[8:]), dtype)
        del self._head

    def _is_whole(self) -> bool:
        return len(self._head) < HEAD

    def _read(self, said: dict[str, Any], dtype: str | None) -> None:
        values = said["values"]
        found = [name for name, (kind, _) in DTYPES.items() if kind == values["dtype"]]
        if not found or dtype not in (None, found[0]):
            wanted = DTYPES[dtype][0] if dtype else "one of floating point"
            raise damaged(self.store, self.name, f"its numbers are {values['dtype']}, not {wanted}")
        self.dtype = found[0]
        self.row = tuple(int(n) for n in values["shape"][1:])
        self.row_bytes = DTYPES[self.dtype][1] * int(np.prod(self.row, dtype=np.int64))
        self.values_at = self._at + values["data_offsets"][0]
        self.starts = np.frombuffer(self._bytes(*said["starts"]["data_offsets"]), "<i8")
        # Their places are next to each other: one read.
        places = [said[name]["data_offsets"] for name in SMALL]
        first = min(start for start, _ in places)
        data = self._bytes(first, max(end for _, end in places))
        self.keys, self.checks, self.cut = (data[a - first : b - first] for a, b in places)
        n = len(self.cut)
        if (len(self.keys), len(self.checks), len(self.starts)) != (KEY * n, CHECK * n, n + 1):
            raise damaged(self.store, self.name, "its tensors do not fit each other")
        whole = values["data_offsets"][1] - values["data_offsets"][0]
        counts = np.diff(self.starts)
        # Before anything is read by them: a damaged number may be of any size.
        if self.starts[0] or counts.min(initial=0) < 0 or self.starts[-1] * self.row_bytes != whole:
            raise damaged(self.store, self.name, "its starts do not fit its values")

    def _bytes(self, start: int, end: int) -> bytes:
        """A range of the tensors' bytes."""
        start, end = self._at + start, self._at + end
        if not self._at <= start <= end:
            raise damaged(self.store, self.name, "its header names places that are none")
        if end <= len(self._head):
            return self._head[start:end]
        data = b"" if self._is_whole() else self.store.read_range(self.name, start, end - start)
        if len(data) != end - start:
            raise damaged(self.store, self.name, "it ends too early")
        return data

    def __len__(self) -> int:
        return len(self.cut)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in memory, about."""
        return 1024 + self.starts.nbytes + len(self.keys) + len(self.checks) + len(self.cut)

    @property
    def size(self) -> int:
        """How many bytes the file should have."""
        return (
            self.values_at + int(self.starts[-1]) * self.row_bytes + (KEY + CHECK + 1) * len(self)
        )

    @property
    def well_formed(self) -> bool:
        """Whether its header is the one that is written for what it has."""
        rows = int(self.starts[-1])
        return self._head_bytes == header(len(self), rows, self.row, self.dtype)

    def key(self, number: int) -> bytes:
        """The key of a value."""
        return self.keys[KEY * number : KEY * (number + 1)]

    def check(self, number: int) -> bytes:
        """The checksum of a value."""
        return self.checks[CHECK * number : CHECK * (number + 1)]

    def number(self, key: bytes) -> int | None:
        """Which value a key has; None if it has none."""
        found = bisect.bisect_left(range(len(self)), key, key=self.key)
        return found if found < len(self) and self.key(found) == key else None

    def place(self, number: int) -> tuple[int, int]:
        """Where a value lies in the file, and its bytes."""
        start, end = (int(n) for n in self.starts[number : number + 2])
        return self.values_at + start * self.row_bytes, (end - start) * self.row_bytes

    def value(self, number: int, data: bytes) -> Value:
        """A value, of its bytes.

        Raises:
            DamagedError: They are not those that were written.
        """
        cut = bool(self.cut[number])
        key = self.key(number)
        if check_of(data, key if self.texts else None, cut=cut) != self.check(number):
            raise damaged(self.store, self.name, f"the value of {key.hex()} is another one")
        count = int(self.starts[number + 1] - self.starts[number])
        return Value(data, (count, *self.row), cut)

    def get(self, key: bytes) -> Value | None:
        """The value of a key; None if it has none.

        Raises:
            DamagedError: Its bytes are not those that were written.
        """
        number = self.number(key)
        if number is None:
            return None
        return self.value(number, self.store.read_range(self.name, *self.place(number)))

    def requests(self, numbers: Iterable[int]) -> Iterator[tuple[list[int], int, int]]:
        """How some values are read: neighbours together.

        Args:
            numbers: Which.

        Yields:
            The values of a request, and its place and bytes.
        """
        wanted = sorted(set(numbers))
        places = np.array([self.place(n) for n in wanted], np.int64).reshape(-1, 2)
        for first, last in joined(places[:, 0], places[:, 1], GAP, BLOCK):
            start, end = int(places[first, 0]), int(places[last - 1].sum())
            yield wanted[first:last], start, end - start

    def every(self) -> Iterator[tuple[int, bytes]]:
        """The number and the bytes of every value, whole or not; a block in memory at a time."""
        for numbers, start, size in self.requests(range(len(self))):
            data = self.store.read_range(self.name, start, size)
            for number in numbers:
                at, length = self.place(number)
                yield number, data[at - start : at - start + length]

    def without(self, keys: Iterable[bytes]) -> bytes:
        """The bytes of a file without some values; the others keep their checksums."""
        gone = set(keys)
        left = [n for n in range(len(self)) if self.key(n) not in gone]
        kept = set(left)
        counts = np.diff(self.starts)
        return written(
            [data for number, data in self.every() if number in kept],
            [int(counts[n]) for n in left],
            b"".join(self.key(n) for n in left),
            b"".join(self.check(n) for n in left),
            bytes(self.cut[n] for n in left),
            self.row,
            self.dtype,
        )


def read_together(
    wanted: Sequence[tuple[EncodedFile, int] | None],
    begin: Callable[[str, Callable[[], bytes]], Callable[[], bytes]],
) -> list[Callable[[], bytes] | None]:
    """Begins to read some values of some files, neighbours together.

    Args:
        wanted: Files, and numbers of values in them; None for one that is not read.
        begin: Begins a request, given what it reads, in words; returns what waits for its bytes.

    Returns:
        What waits for the bytes of each.
    """
    by_file: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    files = {}
    for at, one in enumerate(wanted):
        if one is not None:
            files[id(one[0])] = one[0]
            by_file[id(one[0])][one[1]].append(at)
    found: list[Callable[[], bytes] | None] = [None] * len(wanted)
    for identity, places in by_file.items():
        file = files[identity]
        for numbers, start, size in file.requests(places):
            block = begin(
                file.name,
                lambda file=file, start=start, size=size: file.store.read_range(  # type: ignore[misc]
                    file.name, start, size
                ),
            )
            for number in numbers:
                offset, length = file.place(number)
                first = offset - start

                def data(
                    block: Callable[[], bytes] = block, first: int = first, length: int = length
                ) -> bytes:
                    return block()[first : first + length]

                for at in places[number]:
                    found[at] = data
    return found
