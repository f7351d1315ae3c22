"""Reads the encoded values (latents or text states) in a folder of a set.

Adjacent values of a file are read in one request, and many requests are in flight. A damaged or
missing value is treated as absent, without affecting the others.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from nucleus_data.corpus.damaged import DamagedError, damaged
from nucleus_data.corpus.store import Store
from nucleus_data.sets.encoded import Value
from nucleus_data.sets.encoded_file import EncodedFile, read_together
from nucleus_model.data.reads import Read, Reads

# Maximum memory for the indexes of open files, which take 33 bytes per value.
OPEN_BYTES = 64 << 20
READS, TIMEOUT_S = 16, 60.0
TORCH = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Wanted:
    """A value to read.

    Attributes:
        name: The value's file.
        key: The value's key.
        shape: The required shape; None for an axis of any length.
    """

    name: str
    key: bytes
    shape: tuple[int | None, ...]


class StoredValues:
    """The encoded values in a folder.

    Args:
        store: The store whose root is the set.
        folder: The folder below the set.
        dtype: Stored dtype: fp32, bf16 or fp16.
        reads: Thread pool for reading; None for one of its own.

    Attributes:
        texts: Whether the values are text states.
        folder: The folder, as given.
        read: Number of values that were read.
        lacking: Number of requested values that are missing or damaged.
        faults: File -> what is wrong with it, or with its first damaged value.
    """

    texts: ClassVar[bool] = False

    def __init__(self, store: Store, folder: str, dtype: str, reads: Reads | None = None) -> None:
        self.store, self.folder, self.dtype = store, folder, dtype
        self.read = self.lacking = 0
        self.faults: dict[str, str] = {}
        self._reads = reads or Reads(READS, TIMEOUT_S)
        self._open: OrderedDict[str, EncodedFile] = OrderedDict()
        self._open_bytes = 0
        self._lost: set[str] = set()

    def begin_values(self, wanted: Sequence[Wanted]) -> Callable[[], list[Value | None]]:
        """Starts reading values.

        Returns:
            A function that waits for them, and returns each value, or None if it is missing or
            damaged.
        """
        files = self._files({value.name for value in wanted})
        places: list[tuple[EncodedFile, int] | None] = []
        for value in wanted:
            file = files[value.name]
            number = None if file is None else file.number(value.key)
            places.append(None if file is None or number is None else (file, number))
        begun = read_together(places, lambda what, call: self._reads.begin(what, call).result)

        def finish() -> list[Value | None]:
            return [
                None if place is None or data is None else self._value(value, *place, data)
                for value, place, data in zip(wanted, places, begun, strict=True)
            ]

        return finish

    def _value(
        self, wanted: Wanted, file: EncodedFile, number: int, data: Callable[[], bytes]
    ) -> Value | None:
        try:
            value = file.value(number, data())
            fits = len(value.shape) == len(wanted.shape) and all(
                w in (None, n) for n, w in zip(value.shape, wanted.shape, strict=True)
            )
            if not fits:
                raise damaged(self.store, wanted.name, f"a value has the shape {value.shape}")
        except FileNotFoundError:  # it was removed after it was opened
            self.faults.setdefault(wanted.name, "it is missing")
            return None
        except DamagedError as error:
            self.faults.setdefault(wanted.name, error.found)
            return None
        return value

    def _files(self, names: set[str]) -> dict[str, EncodedFile | None]:
        """Returns files by name, None for unreadable ones, opening new ones concurrently."""
        begun: dict[str, Read[EncodedFile]] = {
            name: self._reads.begin(
                name,
                lambda name=name: EncodedFile(self.store, name, self.dtype, texts=self.texts),  # type: ignore[misc]
            )
            for name in sorted(names)
            if name not in self._open and name not in self._lost
        }
        for name, read in begun.items():
            if (file := self._opened(name, read)) is not None:
                self._open[name] = file
                self._open_bytes += file.nbytes
        files: dict[str, EncodedFile | None] = {}
        for name in sorted(names):
            files[name] = self._open.get(name)
            if name in self._open:
                self._open.move_to_end(name)
        while self._open_bytes > OPEN_BYTES and self._open:
            _, oldest = self._open.popitem(last=False)
            self._open_bytes -= oldest.nbytes
        return files

    def _opened(self, name: str, begun: Read[EncodedFile]) -> EncodedFile | None:
        try:
            return begun.result()
        except FileNotFoundError:
            fault = "it is missing"
        except DamagedError as error:
            fault = error.found
        self.faults[name] = fault
        self._lost.add(name)
        return None

    def count(self, found: object) -> None:
        """Counts a requested value, which is None if it is missing."""
        self.read += found is not None
        self.lacking += found is None

    def tensor(self, value: Value) -> torch.Tensor:
        """Converts a value to a float32 tensor."""
        flat = torch.frombuffer(bytearray(value.data), dtype=TORCH[self.dtype])
        return flat.float().reshape(value.shape)
