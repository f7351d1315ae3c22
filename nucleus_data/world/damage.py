"""Damage to the bytes of files: what disks, networks and fuzzers do to them."""

import struct
import zlib
from typing import Literal

import numpy as np

ZEROED = 1000  # bytes
FLIPPED = 8  # bits
# What length and count fields are overwritten with: the ends of 8, 16 and 32 bits.
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
HEAD = 256  # bytes of a file in which its header is
LARGEST = 4 << 20  # bytes; repeats would double a file again and again


def zeroed(data: bytes) -> bytes:
    """Sets 1,000 bytes in the middle to 0, or a quarter of a smaller file."""
    count = min(ZEROED, len(data) // 4)
    at = (len(data) - count) // 2
    return data[:at] + bytes(count) + data[at + count :]


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """Flips 8 bits, uniformly in the coded data of a JPEG, else in the last three quarters."""
    start, end = len(data) // 4, len(data)
    if data.startswith(b"\xff\xd8"):
        start = data.index(b"\xff\xda") + 2
        start, end = (
            start + int.from_bytes(data[start : start + 2], "big"),
            data.rindex(b"\xff\xd9"),
        )
    found = bytearray(data)
    for place in rng.integers(start * 8, end * 8, FLIPPED).tolist():
        found[place // 8] ^= 1 << place % 8
    return bytes(found)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk with its length and checksum."""
    sealed = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + sealed


def mutated(seeds: list[tuple[str, bytes]], index: int, rng: np.random.Generator) -> bytes:
    """Damages a file in one to three ways: bits, bytes, numbers, cuts, splices, repeats.

    Args:
        seeds: Valid files with their names, `FORMAT.KIND`.
        index: Number of the mutation; the seeds take turns.
        rng: The mutation's own generator.
    """
    name, data = seeds[index % len(seeds)]
    form = name.split(".")[0]
    for _ in range(int(rng.integers(1, 4))):
        # None is a splice, which needs a second file.
        damage = (_flip, _overwrite, _number, _cut, None, _repeat)[int(rng.integers(6))]
        if damage is None:
            # Of another format, the second part would hardly ever be looked at.
            others = [other for kind, other in seeds if kind.startswith(form)]
            data = _splice(data, others[int(rng.integers(len(others)))], rng)
        else:
            data = damage(data, rng)
        if len(data) < 2:
            return data
    if form == "png" and rng.random() < 0.5:
        data = _resealed(data)
    return data


def _place(data: bytes, rng: np.random.Generator) -> int:
    """Half of the time in the first bytes, where the header is."""
    end = min(len(data), HEAD) if rng.random() < 0.5 else len(data)
    return int(rng.integers(end))


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 17))):
        found[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(found)


def _overwrite(data: bytes, rng: np.random.Generator) -> bytes:
    at, count = _place(data, rng), int(rng.integers(1, 65))
    filling = bytes(count) if rng.random() < 0.5 else rng.bytes(count)
    return data[:at] + filling[: len(data) - at] + data[at + count :]


def _number(data: bytes, rng: np.random.Generator) -> bytes:
    size = (1, 2, 4)[int(rng.integers(3))]
    value = INTERESTING[int(rng.integers(len(INTERESTING)))] & (256**size - 1)
    at = _place(data, rng)
    order: Literal["little", "big"] = "little" if rng.random() < 0.5 else "big"
    return (data[:at] + value.to_bytes(size, order) + data[at + size :])[: len(data)]


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def _splice(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(len(data)))] + other[int(rng.integers(len(other))) :]


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    start, end = sorted(rng.integers(0, len(data), 2).tolist())
    return (data[:end] + data[start:])[:LARGEST]


def _resealed(data: bytes) -> bytes:
    """The PNG with right checksums, so that damage reaches what lies behind them."""
    found, at = [data[:8]], 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body = data[at + 8 : at + 8 + length]
        found.append(png_chunk(data[at + 4 : at + 8], body) if len(body) == length else data[at:])
        at += length + 12
    return b"".join(found)
