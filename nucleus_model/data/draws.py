"""Counter-based random draws, for millions of positions, where hashing a text each is too slow.

A key is made from a name, a seed and numbers (`key_of`, with the hash that is also used for ids).
The draws of a key are SplitMix64 of the key and a counter, so each can be computed without those
before it. They do not change with the NumPy version, unlike NumPy's own generators.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from nucleus_data.hashing import keyed_uint64

# SplitMix64 (Steele, Lea, Flood 2014).
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

Keys = NDArray[np.uint64]
Numbers = NDArray[np.int64]


def key_of(name: str, seed: int, *numbers: int) -> int:
    """Returns the 64-bit key of a purpose, a seed and some numbers."""
    return keyed_uint64(name, seed, ":".join(map(str, numbers)))


def drawn(key: int, counters: NDArray[np.integer]) -> Keys:
    """Draws a uniform 64-bit number for each counter."""
    return mixed(np.uint64(key) + (counters.astype(np.uint64) + np.uint64(1)) * GOLDEN)


def mixed(state: Keys) -> Keys:
    """Mixes the bits of 64-bit numbers: the finalizer of SplitMix64."""
    state = (state ^ (state >> np.uint64(30))) * FIRST
    state = (state ^ (state >> np.uint64(27))) * SECOND
    return np.asarray(state ^ (state >> np.uint64(31)))


def units(key: int, counters: NDArray[np.integer]) -> NDArray[np.float64]:
    """Draws a uniform number in [0, 1) for each counter."""
    return np.asarray((drawn(key, counters) >> np.uint64(11)) / np.float64(1 << 53))


def shuffled(key: int, count: int) -> Numbers:
    """Returns a permutation of the numbers 0 to `count` - 1, determined by the key."""
    return np.argsort(drawn(key, np.arange(count)), kind="stable")


def keyed(name: str, seed: int, ids: NDArray[np.uint8]) -> Keys:
    """Draws a 64-bit number for each id, equal to `hashing.keyed_uint64` of its text.

    Args:
        name: The purpose.
        seed: The seed.
        ids: (N, 16), as `as_bytes` returns them.
    """
    start = f"{name}\0{seed}\0".encode()
    texts = as_hex(ids)
    digests = b"".join(blake2b(start + text, digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def keyed_units(name: str, seed: int, ids: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Draws a number in [0, 1) for each id, equal to `hashing.keyed_unit` of its text."""
    return np.asarray((keyed(name, seed, ids) >> np.uint64(11)) / np.float64(1 << 53))


def as_bytes(ids: Sequence[str]) -> NDArray[np.uint8]:
    """Returns ids of 32 hex digits as bytes, (N, 16).

    Raises:
        ValueError: One is not 32 hex digits.
    """
    return np.frombuffer(bytes.fromhex("".join(ids)), dtype=np.uint8).reshape(len(ids), 16)


def as_hex(ids: NDArray[np.uint8]) -> list[bytes]:
    """Returns the 32 hex digits of each of (N, 16) ids."""
    text = np.ascontiguousarray(ids).tobytes().hex().encode()
    return [text[at : at + 32] for at in range(0, len(text), 32)]


def ascending(ids: NDArray[np.uint8]) -> Numbers:
    """Returns the order of (N, 16) ids by their hex digits."""
    halves = np.ascontiguousarray(ids).view(">u8")
    return np.lexsort((halves[:, 1], halves[:, 0]))
