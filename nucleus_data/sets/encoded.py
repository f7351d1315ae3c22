"""The file format of encoded pictures (latents) and texts (text states) beside a set's tars.

encoded/<config hash>/<resolution>/<aspect>/000000.safetensors   latents of a tar's samples
encoded/<config hash>/encoded.json                               about the encoder; written last
encoded/<config hash>/texts/000000.safetensors                   text states of a share of all texts
encoded/<config hash>/texts/encoded.json                         about the encoder; written last

A file maps keys to values, in the safetensors format. With N values, it has these tensors:

| tensor | content |
|---|---|
| `values` | all values, concatenated along the first axis |
| `starts` | int64[N + 1]: the first row of each value in `values`, and the end of the last |
| `keys` | uint8[N, 16]: a sample's id, or a text's hash; ascending |
| `checks` | uint8[N, 8]: BLAKE2b of each value (of a text, also of its key and `cut`) |
| `cut` | uint8[N]: 1 for a text that was truncated because it was too long for the encoder |

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
WORK = "_work"  # folder of the texts while their states are being made
KEY, CHECK = 16, 8  # bytes of a key and of a checksum
# Name of a number type in our settings -> its name in safetensors, and its bytes.
DTYPES = {"fp32": ("F32", 4), "bf16": ("BF16", 2), "fp16": ("F16", 2)}
SMALL = ("keys", "checks", "cut")
_CUT = b"cut"


@dataclass(frozen=True)
class Value:
    """An encoded picture or text.

    Attributes:
        data: Its numbers, as bytes.
        shape: Its shape.
        cut: Whether its text was truncated because it was too long for the encoder.
    """

    data: bytes
    shape: tuple[int, ...]
    cut: bool = False


def encoded_name(config_hash: str, tar: str) -> str:
    """Returns the path below the set of the latents of a tar's samples."""
    return f"{ENCODED}/{config_hash}/{tar.removesuffix('.tar')}{SUFFIX}"


def texts_folder(config_hash: str) -> str:
    """Returns the path below the set of the folder of text states."""
    return f"{ENCODED}/{config_hash}/{TEXTS}"


def part_name(number: int) -> str:
    """Returns the name of a file of text states in their folder."""
    return f"{number:06d}{SUFFIX}"


def text_key(text: str) -> bytes:
    """Returns the key of a text's states: a BLAKE2b hash of 16 bytes."""
    return hashlib.blake2b(text.encode(), digest_size=KEY).digest()


def part_of(key: bytes, parts: int) -> int:
    """Returns which of `parts` files has the states of a text, from 0."""
    return int.from_bytes(key[:8], "big") % parts


def check_of(data: bytes, key: bytes | None = None, *, cut: bool = False) -> bytes:
    """Returns the checksum of a value, as stored in `checks`.

    Args:
        data: The value's bytes.
        key: The text's key, which nothing else could verify; None for a picture.
        cut: Whether the text was truncated.
    """
    person = _CUT if cut else b""
    return hashlib.blake2b(data, digest_size=CHECK, salt=key or b"", person=person).digest()


def read_marker(store: Store, folder: str) -> dict[str, Any] | None:
    """Reads the `encoded.json` of a folder; None if the folder is not complete."""
    try:
        return read_json(store, f"{folder}/{MARKER}")
    except FileNotFoundError:
        return None


def marker_bytes(about: Mapping[str, Any]) -> bytes:
    """Encodes the content of an `encoded.json`."""
    return json.dumps(about, sort_keys=True, indent=1).encode()


def write_marker(store: Store, folder: str, about: Mapping[str, Any]) -> None:
    """Writes the `encoded.json` of a folder, by which the folder is complete."""
    store.create(f"{folder}/{MARKER}", marker_bytes(about))


def encode_values(
    values: Mapping[bytes, Value], shape: Sequence[int], dtype: str, *, texts: bool = False
) -> bytes:
    """Encodes values as the bytes of a file; the same values give the same bytes.

    Args:
        values: Key -> value. All have the same shape, except for the first axis.
        shape: The shape of a row of `values`, which a file without values needs too.
        dtype: Type of their numbers: fp32, bf16 or fp16.
        texts: Whether they are text states.
    """
    keys = sorted(values)
    ordered = [values[key] for key in keys]
    checks = b"".join(
        check_of(value.data, key if texts else None, cut=value.cut)
        for key, value in zip(keys, ordered, strict=True)
    )
    cut = bytes(value.cut for value in ordered)
    counts = [value.shape[0] for value in ordered]
    return written(
        [value.data for value in ordered], counts, b"".join(keys), checks, cut, shape, dtype
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
    """Returns the bytes of a file, from the bytes of its tensors.

    Args:
        data: The bytes of each value, in the order of the keys.
        counts: The number of rows of each value.
        keys: The tensor `keys`.
        checks: The tensor `checks`.
        cut: The tensor `cut`.
        shape: The shape of a row.
        dtype: Type of the numbers: fp32, bf16 or fp16.
    """
    starts = np.cumsum([0, *counts]).astype("<i8")
    head = header(len(cut), int(starts[-1]), shape, dtype)
    return b"".join([head, starts.tobytes(), *data, keys, checks, cut])


def header(n: int, rows: int, shape: Sequence[int], dtype: str) -> bytes:
    """Returns the header of a file, in the safetensors format.

    The writer of the package safetensors is not used: it takes no bfloat16 without torch.

    Args:
        n: Number of values in the file.
        rows: Total number of rows of all values.
        shape: The shape of a row.
        dtype: Type of the numbers: fp32, bf16 or fp16.
    """
    kind, width = DTYPES[dtype]
    # Tensors with wider numbers come first, so that all are aligned.
    tensors: list[tuple[str, str, int, tuple[int, ...]]] = [
        ("starts", "I64", 8, (n + 1,)),
        ("values", kind, width, (rows, *shape)),
        ("keys", "U8", 1, (n, KEY)),
        ("checks", "U8", 1, (n, CHECK)),
        ("cut", "U8", 1, (n,)),
    ]
    entries, at = {}, 0
    for name, kind, width, sides in tensors:
        end = at + width * int(np.prod(sides, dtype=np.int64))
        entries[name] = {"dtype": kind, "shape": list(sides), "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


@dataclass(frozen=True)
class Encoding:
    """A folder of encoded values of a set, complete or not.

    Attributes:
        store: The store that holds the set.
        root: The set's folder below the store.
        hash: Its config hash.
        texts: True for text states, False for latents.
    """

    store: Store
    root: str
    hash: str
    texts: bool

    @property
    def folder(self) -> str:
        """Its path below the set."""
        return texts_folder(self.hash) if self.texts else f"{ENCODED}/{self.hash}"

    def name(self, file: str = "") -> str:
        """Returns the path below the store of one of its files; without one, of its folder."""
        return "/".join(part for part in (self.root, self.folder, file) if part)

    def about(self) -> dict[str, Any] | None:
        """Reads its `encoded.json`; None if it is not complete. Raises DamagedError."""
        return read_marker(self.store, self.name())


def encodings(store: Store, root: str) -> list[Encoding]:
    """Returns the folders of encoded values beside a set, complete or not.

    Args:
        store: The store that holds the set.
        root: The set's folder below the store; empty if the store's root is the set.
    """
    where = f"{root}/{ENCODED}" if root else ENCODED
    return [
        Encoding(store, root, hashed, TEXTS in store.list(f"{where}/{hashed}"))
        for hashed in store.list(where)
    ]
