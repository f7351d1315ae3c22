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
| `checks` | uint8 (N, 8): BLAKE2b of each value (of a text, with its key and `cut`) |
| `cut` | uint8 (N): 1 for a text that was longer than the encoder takes |

`encoded_file` reads them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nucleus_data.corpus.damaged import read_json
from nucleus_data.corpus.store import Store

ENCODED, MARKER, TEXTS, SUFFIX = "encoded", "encoded.json", "texts", ".safetensors"
WORK = "_work"  # of text states that are being made: the texts themselves
KEY, CHECK = 16, 8
# Name in settings -> that in safetensors, and bytes a number.
DTYPES = {"fp32": ("F32", 4), "bf16": ("BF16", 2), "fp16": ("F16", 2)}
SMALL = ("keys", "checks", "cut")
_CUT = b"cut"


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


def part_name(number: int) -> str:
    """Name of a file of text states in their folder."""
    return f"{number:06d}{SUFFIX}"


def text_key(text: str) -> bytes:
    """What a text's states are found by."""
    return hashlib.blake2b(text.encode(), digest_size=KEY).digest()


def part_of(key: bytes, parts: int) -> int:
    """In which of so many files a text's states are."""
    return int.from_bytes(key[:8], "big") % parts


def check_of(data: bytes, key: bytes | None = None, *, cut: bool = False) -> bytes:
    """What `checks` has of a value.

    Args:
        data: Its bytes.
        key: Of a text, its key: nothing else tells whether that is right.
        cut: Whether the text was cut.
    """
    person = _CUT if cut else b""
    return hashlib.blake2b(data, digest_size=CHECK, salt=key or b"", person=person).digest()


def read_marker(store: Store, folder: str) -> dict[str, Any] | None:
    """What a folder of encoded values says of itself; None if it is not complete."""
    try:
        return read_json(store, f"{folder}/{MARKER}")
    except FileNotFoundError:
        return None


def marker_bytes(about: Mapping[str, Any]) -> bytes:
    """What a folder of encoded values says of itself, as it is written."""
    return json.dumps(about, sort_keys=True, indent=1).encode()


def write_marker(store: Store, folder: str, about: Mapping[str, Any]) -> None:
    """Says that a folder of encoded values is complete."""
    store.create(f"{folder}/{MARKER}", marker_bytes(about))


def encode_values(
    values: Mapping[bytes, Value], shape: Sequence[int], dtype: str, *, texts: bool = False
) -> bytes:
    """Values by key as a file's bytes; the same values give the same bytes.

    Args:
        values: By key; of one shape but for the first axis.
        shape: That of a row of `values`, for a file without any.
        dtype: Of their numbers: fp32, bf16 or fp16.
        texts: Whether they are text states.
    """
    keys = sorted(values)
    found = [values[key] for key in keys]
    checks = b"".join(
        check_of(value.data, key if texts else None, cut=value.cut)
        for key, value in zip(keys, found, strict=True)
    )
    cut = bytes(value.cut for value in found)
    counts = [value.shape[0] for value in found]
    return written(
        [value.data for value in found], counts, b"".join(keys), checks, cut, shape, dtype
    )


def written(
    data: Sequence[bytes],
    counts: Sequence[int],
    keys: bytes,
    checks: bytes,
    cut: bytes,
    shape: Sequence[int],
    dtype: str,
) -> bytes:
    """A file's bytes, of what is in its tensors.

    Args:
        data: Of each value, in the order of the keys.
        counts: How many rows each has.
        keys: The tensor.
        checks: The tensor.
        cut: The tensor.
        shape: That of a row.
        dtype: Of the numbers.
    """
    starts = np.cumsum([0, *counts]).astype("<i8")
    head = header(len(cut), int(starts[-1]), shape, dtype)
    return b"".join([head, starts.tobytes(), *data, keys, checks, cut])


def header(n: int, rows: int, shape: Sequence[int], dtype: str) -> bytes:
    """The beginning of a file, in the format of safetensors.

    Its own writer takes no bfloat16 without torch.

    Args:
        n: How many values the file has.
        rows: How many rows all of them have.
        shape: That of a row.
        dtype: Of the numbers.
    """
    kind, width = DTYPES[dtype]
    # The types of the widest numbers come first.
    tensors: list[tuple[str, str, int, tuple[int, ...]]] = [
        ("starts", "I64", 8, (n + 1,)),
        ("values", kind, width, (rows, *shape)),
        ("keys", "U8", 1, (n, KEY)),
        ("checks", "U8", 1, (n, CHECK)),
        ("cut", "U8", 1, (n,)),
    ]
    found, at = {}, 0
    for name, kind, width, sides in tensors:
        end = at + width * int(np.prod(sides, dtype=np.int64))
        found[name] = {"dtype": kind, "shape": list(sides), "data_offsets": [at, end]}
        at = end
    text = json.dumps(found, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


@dataclass(frozen=True)
class Encoding:
    """A folder of encoded values of a set, complete or not.

    Attributes:
        store: The store that holds the set.
        root: The set's folder there.
        hash: Its config hash.
        texts: Whether it has text states; else it has latents.
    """

    store: Store
    root: str
    hash: str
    texts: bool

    @property
    def folder(self) -> str:
        """Path below the set."""
        return texts_folder(self.hash) if self.texts else f"{ENCODED}/{self.hash}"

    def name(self, file: str = "") -> str:
        """Path below the store of one of its files, or of its folder."""
        return "/".join(part for part in (self.root, self.folder, file) if part)

    def about(self) -> dict[str, Any] | None:
        """What it says of itself; None if it is not complete. Raises DamagedError."""
        return read_marker(self.store, self.name())


def encodings(store: Store, root: str) -> list[Encoding]:
    """The encoded values beside a set, complete or not.

    Args:
        store: The store that holds the set.
        root: The set's folder there; empty for the store's own.
    """
    where = f"{root}/{ENCODED}" if root else ENCODED
    return [
        Encoding(store, root, hashed, TEXTS in store.list(f"{where}/{hashed}"))
        for hashed in store.list(where)
    ]
