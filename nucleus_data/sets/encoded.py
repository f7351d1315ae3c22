"""Encoded pictures and texts beside a set's tars: values by key, in safetensors.

encoded/<config hash>/<resolution>/<aspect>/000000.safetensors   latents of a tar's samples
encoded/<config hash>/encoded.json                               what encoded them; written last
encoded/<config hash>/texts/000000.safetensors                   text states of a share of all texts
encoded/<config hash>/texts/encoded.json                         likewise

| tensor | content |
|---|---|
| `values` | all values, one behind the other |
| `starts` | int64 (N + 1): where each begins, in rows of `values` |
| `keys` | uint8 (N, 16): a sample's id, or a text's hash; ascending |
| `checks` | uint8 (N, 8): BLAKE2b of each value's bytes, so that a damaged one costs itself alone |
| `cut` | uint8 (N): 1 for a text that was longer than the encoder takes |
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nucleus_data.corpus.damaged import damaged, read_json, reading
from nucleus_data.corpus.store import Store

ENCODED, MARKER, TEXTS, SUFFIX = "encoded", "encoded.json", "texts", ".safetensors"
KEY, CHECK = 16, 8
# Name in settings -> that in safetensors, and bytes a number.
DTYPES = {"fp32": ("F32", 4), "bf16": ("BF16", 2), "fp16": ("F16", 2)}
_SMALL = ("keys", "checks", "cut")


@dataclass(frozen=True)
class Value:
    """An encoded picture or text.

    Attributes:
        data: Its numbers' bytes.
        shape: Its shape.
        cut: Whether its text was longer than the encoder takes.
    """

    data: bytes
    shape: tuple[int, ...]
    cut: bool = False


def encoded_name(config_hash: str, tar: str) -> str:
    """Path below the set of the latents of a tar's samples."""
    return f"{ENCODED}/{config_hash}/{tar.removesuffix('.tar')}{SUFFIX}"


def texts_folder(config_hash: str) -> str:
    """Path below the set of the folder of text states."""
    return f"{ENCODED}/{config_hash}/{TEXTS}"


def text_key(text: str) -> bytes:
    """What a text's states are found by."""
    return hashlib.blake2b(text.encode(), digest_size=KEY).digest()


def part_of(key: bytes, parts: int) -> int:
    """In which of so many files a text's states are."""
    return int.from_bytes(key[:8], "big") % parts


def read_marker(store: Store, folder: str) -> dict[str, Any] | None:
    """What a folder of encoded values says of itself; None if it is not complete."""
    try:
        return read_json(store, f"{folder}/{MARKER}")
    except FileNotFoundError:
        return None


def write_marker(store: Store, folder: str, about: Mapping[str, Any]) -> None:
    """Says that a folder of encoded values is complete."""
    store.create(f"{folder}/{MARKER}", json.dumps(about, sort_keys=True, indent=1).encode())


def encode_values(values: Mapping[bytes, Value], shape: Sequence[int], dtype: str) -> bytes:
    """Values by key as a file's bytes; the same values give the same bytes.

    Args:
        values: By key; of one shape but for the first axis.
        shape: That of a row of `values`, for a file without any.
        dtype: Of their numbers: fp32, bf16 or fp16.
    """
    keys = sorted(values)
    found = [values[key] for key in keys]
    counts = [value.shape[0] for value in found]
    checks = b"".join(_check(value.data) for value in found)
    cut = bytes(value.cut for value in found)
    starts = np.cumsum([0, *counts]).astype("<i8")
    n = len(keys)

    tensors = [
        ("starts", "I64", (n + 1,), starts.tobytes()),
        ("values", DTYPES[dtype][0], (int(starts[-1]), *shape), b"".join(v.data for v in found)),
        ("keys", "U8", (n, KEY), b"".join(keys)),
        ("checks", "U8", (n, CHECK), checks),
        ("cut", "U8", (n,), cut),
    ]
    return _safetensors(tensors)


def _safetensors(tensors: Sequence[tuple[str, str, Sequence[int], bytes]]) -> bytes:
    """Tensors in the format of safetensors, whose own writer takes no bfloat16 without torch.

    Args:
        tensors: Name, type, shape and bytes of each; the types of the widest numbers first.
    """
    header, at = {}, 0
    for name, kind, shape, data in tensors:
        offsets = [at, at + len(data)]
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": offsets}
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *(data for *_, data in tensors)])


class EncodedFile:
    """A file of encoded values, read by ranges.

    Args:
        store: The store that holds it.
        name: Its path there.
        dtype: What its numbers must be.

    Raises:
        FileNotFoundError: It is not there.
        DamagedError: It is not such a file.
    """

    def __init__(self, store: Store, name: str, dtype: str) -> None:
        self.store, self.name = store, name
        size = int.from_bytes(store.read_range(name, 0, 8), "little")
        with reading(store, name):
            if not 0 < size < store.size(name):
                raise damaged(store, name, "its header is not one of safetensors")
            header = json.loads(store.read_range(name, 8, size))
            self._at, self._end = 8 + size, store.size(name)
            self._read(header, dtype)

    def _read(self, header: dict[str, Any], dtype: str) -> None:
        kind, width = DTYPES[dtype]
        values = header["values"]
        if values["dtype"] != kind:
            raise damaged(self.store, self.name, f"its numbers are {values['dtype']}, not {kind}")
        self.row = tuple(int(n) for n in values["shape"][1:])
        self.row_bytes = width * int(np.prod(self.row, dtype=np.int64))
        self.values_at = self._at + values["data_offsets"][0]
        self.starts = np.frombuffer(self._bytes(*header["starts"]["data_offsets"]), "<i8")
        # Their places are next to each other: one read.
        places = [header[name]["data_offsets"] for name in _SMALL]
        first = min(start for start, _ in places)
        data = self._bytes(first, max(end for _, end in places))
        keys, checks, cut = (data[a - first : b - first] for a, b in places)
        self.keys = [keys[i : i + KEY] for i in range(0, len(keys), KEY)]
        self.checks = [checks[i : i + CHECK] for i in range(0, len(checks), CHECK)]
        self.cut = np.frombuffer(cut, np.uint8)
        if not len(self.keys) == len(self.checks) == len(self.cut) == len(self.starts) - 1:
            raise damaged(self.store, self.name, "its tensors do not fit each other")
        whole = values["data_offsets"][1] - values["data_offsets"][0]
        counts = np.diff(self.starts)
        # Before anything is read by them: a damaged number may be of any size.
        if self.starts[0] or counts.min(initial=0) < 0 or self.starts[-1] * self.row_bytes != whole:
            raise damaged(self.store, self.name, "its starts do not fit its values")
        self.places = {key: number for number, key in enumerate(self.keys)}

    def _bytes(self, start: int, end: int) -> bytes:
        """A range of the tensors' bytes."""
        if not 0 <= start <= end <= self._end - self._at:
            raise damaged(self.store, self.name, "it ends too early")
        return self.store.read_range(self.name, self._at + start, end - start)

    def get(self, key: bytes) -> Value | None:
        """The value of a key; None if it has none.

        Raises:
            DamagedError: Its bytes are not those that were written.
        """
        number = self.places.get(key)
        if number is None:
            return None
        start, end = (int(n) for n in self.starts[number : number + 2])
        size = (end - start) * self.row_bytes
        data = self.store.read_range(self.name, self.values_at + start * self.row_bytes, size)
        if _check(data) != self.checks[number]:
            raise damaged(self.store, self.name, f"the value of {key.hex()} is another one")
        return Value(data, (end - start, *self.row), bool(self.cut[number]))


def _check(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=CHECK).digest()
