"""Reads values from a file of encoded values (see `encoded`) by range requests.

file = EncodedFile(store, name, "fp32")                  # two requests: its start and its end
file.get(key)                                            # one request
waiting = read_together([(file, number), ...], begin)    # one request for close values
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

# All in bytes.
HEAD = 64 << 10  # first request: the header, and the starts of some thousands of values
MOST_HEADER = 1 << 20
GAP = 64 << 10  # values no farther apart share a request, as another one would cost more
BLOCK = 8 << 20  # largest request, except for a single larger value


class EncodedFile:
    """An open file of encoded values. All tensors except `values` are held in memory.

    Args:
        store: The store that holds the file.
        name: Its path below the store.
        dtype: The required type of its numbers (fp32, bf16, fp16); None for any.
        texts: Whether it has text states.

    Attributes:
        dtype: The type of its numbers.
        row: The shape of a row.
        starts: int64[N + 1], the first row of each value, and the end of the last.
        keys, checks, cut: The bytes of these tensors.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: The file is malformed, or its numbers are of another type.
    """

    def __init__(
        self, store: Store, name: str, dtype: str | None = None, *, texts: bool = False
    ) -> None:
        self.store, self.name, self.texts = store, name, texts
        self._head = store.read_range(name, 0, HEAD)
        with reading(store, name):
            size = int.from_bytes(self._head[:8], "little")
            if not 0 < size <= MOST_HEADER or (8 + size > len(self._head) and self._is_whole()):
                raise damaged(store, name, "its header is not a safetensors header")
            self._at = 0
            self._head_bytes = self._bytes(0, 8 + size)
            self._at = 8 + size
            self._read(json.loads(self._head_bytes[8:]), dtype)
        del self._head

    def _is_whole(self) -> bool:
        return len(self._head) < HEAD

    def _read(self, tensors: dict[str, Any], dtype: str | None) -> None:
        """Reads the tensors except `values`; `tensors` is the parsed header."""
        values = tensors["values"]
        names = [name for name, (kind, _) in DTYPES.items() if kind == values["dtype"]]
        if not names or dtype not in (None, names[0]):
            wanted = DTYPES[dtype][0] if dtype else "floating point"
            raise damaged(self.store, self.name, f"its numbers are {values['dtype']}, not {wanted}")
        self.dtype = names[0]
        self.row = tuple(int(n) for n in values["shape"][1:])
        self.row_bytes = DTYPES[self.dtype][1] * int(np.prod(self.row, dtype=np.int64))
        self.values_at = self._at + values["data_offsets"][0]
        self.starts = np.frombuffer(self._bytes(*tensors["starts"]["data_offsets"]), "<i8")
        # They are next to each other in the file, so one request reads all of them.
        places = [tensors[name]["data_offsets"] for name in SMALL]
        first = min(start for start, _ in places)
        data = self._bytes(first, max(end for _, end in places))
        self.keys, self.checks, self.cut = (data[a - first : b - first] for a, b in places)
        n = len(self.cut)
        if (len(self.keys), len(self.checks), len(self.starts)) != (KEY * n, CHECK * n, n + 1):
            raise damaged(self.store, self.name, "its tensors do not match each other")
        whole = values["data_offsets"][1] - values["data_offsets"][0]
        counts = np.diff(self.starts)
        # Checked before any value is read: a damaged offset could ask for any number of bytes.
        if self.starts[0] or counts.min(initial=0) < 0 or self.starts[-1] * self.row_bytes != whole:
            raise damaged(self.store, self.name, "its starts do not match its values")

    def _bytes(self, start: int, end: int) -> bytes:
        """Returns a range of bytes, counted from the end of the header."""
        start, end = self._at + start, self._at + end
        if not self._at <= start <= end:
            raise damaged(self.store, self.name, "its header has invalid offsets")
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
        """Its approximate size in memory, in bytes."""
        return 1024 + self.starts.nbytes + len(self.keys) + len(self.checks) + len(self.cut)

    @property
    def size(self) -> int:
        """The size in bytes that the file should have."""
        return (
            self.values_at + int(self.starts[-1]) * self.row_bytes + (KEY + CHECK + 1) * len(self)
        )

    @property
    def well_formed(self) -> bool:
        """Whether its header is byte for byte the one that `encoded.header` writes for it."""
        rows = int(self.starts[-1])
        return self._head_bytes == header(len(self), rows, self.row, self.dtype)

    def key(self, number: int) -> bytes:
        """Returns the key of a value, given its number."""
        return self.keys[KEY * number : KEY * (number + 1)]

    def check(self, number: int) -> bytes:
        """Returns the checksum of a value, given its number."""
        return self.checks[CHECK * number : CHECK * (number + 1)]

    def number(self, key: bytes) -> int | None:
        """Returns the number of the value with a key, from 0; None if there is none."""
        number = bisect.bisect_left(range(len(self)), key, key=self.key)
        return number if number < len(self) and self.key(number) == key else None

    def place(self, number: int) -> tuple[int, int]:
        """Returns a value's offset in the file and its size, in bytes."""
        start, end = (int(n) for n in self.starts[number : number + 2])
        return self.values_at + start * self.row_bytes, (end - start) * self.row_bytes

    def value(self, number: int, data: bytes) -> Value:
        """Makes a value from its bytes, and checks them.

        Args:
            number: The value's number.
            data: Its bytes.

        Raises:
            DamagedError: The checksum does not match.
        """
        cut = bool(self.cut[number])
        key = self.key(number)
        if check_of(data, key if self.texts else None, cut=cut) != self.check(number):
            raise damaged(self.store, self.name, f"the value of {key.hex()} has changed")
        count = int(self.starts[number + 1] - self.starts[number])
        return Value(data, (count, *self.row), cut)

    def get(self, key: bytes) -> Value | None:
        """Reads the value with a key; None if there is none.

        Raises:
            DamagedError: The checksum does not match.
        """
        number = self.number(key)
        if number is None:
            return None
        return self.value(number, self.store.read_range(self.name, *self.place(number)))

    def requests(self, numbers: Iterable[int]) -> Iterator[tuple[list[int], int, int]]:
        """Plans the requests that read some values; values that lie close together share one.

        Args:
            numbers: Numbers of the values.

        Yields:
            The numbers of a request's values, the request's offset in the file, and its size in
            bytes.
        """
        wanted = sorted(set(numbers))
        places = np.array([self.place(n) for n in wanted], np.int64).reshape(-1, 2)
        for first, last in joined(places[:, 0], places[:, 1], GAP, BLOCK):
            start, end = int(places[first, 0]), int(places[last - 1].sum())
            yield wanted[first:last], start, end - start

    def every(self) -> Iterator[tuple[int, bytes]]:
        """Yields the number and the bytes of every value, without checking them.

        Only one request's bytes are in memory at a time.
        """
        for numbers, start, size in self.requests(range(len(self))):
            data = self.store.read_range(self.name, start, size)
            for number in numbers:
                at, length = self.place(number)
                yield number, data[at - start : at - start + length]

    def without(self, keys: Iterable[bytes]) -> bytes:
        """Returns the bytes of this file without some values; the others keep their checksums."""
        removed = set(keys)
        numbers = [n for n in range(len(self)) if self.key(n) not in removed]
        kept = set(numbers)
        counts = np.diff(self.starts)
        return written(
            [data for number, data in self.every() if number in kept],
            [int(counts[n]) for n in numbers],
            b"".join(self.key(n) for n in numbers),
            b"".join(self.check(n) for n in numbers),
            bytes(self.cut[n] for n in numbers),
            self.row,
            self.dtype,
        )


def read_together(
    wanted: Sequence[tuple[EncodedFile, int] | None],
    begin: Callable[[str, Callable[[], bytes]], Callable[[], bytes]],
) -> list[Callable[[], bytes] | None]:
    """Starts reading values of several files; close values of a file share a request.

    Args:
        wanted: Pairs of a file and the number of a value in it; None for an entry to skip.
        begin: Starts a request, given the file's name and a function that reads its bytes. Returns
            a function that waits for the bytes and returns them.

    Returns:
        For each entry of `wanted`, a function that waits for the value's bytes and returns them;
        None for None.
    """
    by_file: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    files = {}
    for at, entry in enumerate(wanted):
        if entry is not None:
            files[id(entry[0])] = entry[0]
            by_file[id(entry[0])][entry[1]].append(at)
    waiting: list[Callable[[], bytes] | None] = [None] * len(wanted)
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
                    waiting[at] = data
    return waiting
