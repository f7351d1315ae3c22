"""Checks that a set's latents and text states are as `encode` wrote them; finds faulty samples.

Every byte of a file is checked: the header is computed again, each value has a checksum (which
includes whether its text was cut), latents must have the ids of their tar, text states the keys of
their part, and all numbers must be finite.
"""

import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from nucleus_data.corpus.damaged import DamagedError, read_whole
from nucleus_data.corpus.store import Store
from nucleus_data.hashing import config_hash
from nucleus_data.printed import counted
from nucleus_data.runner.work import Summary
from nucleus_data.sets.encoded import (
    MARKER,
    Encoding,
    encoded_name,
    encodings,
    marker_bytes,
    part_name,
    part_of,
    text_key,
)
from nucleus_data.sets.encoded_file import EncodedFile
from nucleus_data.sets.layout import SetFolder, TarEntry
from nucleus_data.stages.upkeep.caption_keys import Said, encoding, said_in
from nucleus_data.stages.upkeep.faults import Fault
from nucleus_data.stages.upkeep.tasks import placed

KIND = "encoded"
EXPONENTS = {"fp32": ("<u4", 0x7F800000), "bf16": ("<u2", 0x7F80), "fp16": ("<u2", 0x7C00)}


@dataclass(frozen=True)
class TextsTask:
    """Verifies one file of text states (a task of the runner).

    Attributes:
        uri, storage_options, path, notes: As in `VerifyTask`.
        encodings: Config hashes of complete text states, each with its number of files.
        groups: Number of groups of tars for which `CaptionKeysTask` was run.
    """

    uri: str
    storage_options: Mapping[str, Any]
    path: str
    notes: str
    encodings: tuple[tuple[str, int], ...]
    groups: int

    def run(self, number: int) -> Summary:
        """Writes the faults of a file; `number` counts the files of all `encodings`."""
        store = Store(self.uri, self.storage_options)
        name = f"{self.notes}/texts-{number:06d}.json"
        if not store.exists(name):
            hashed, part = placed(self.encodings, number)
            folder, parts = SetFolder(store, self.path), dict(self.encodings)[hashed]
            said = said_in(folder, self.notes, hashed, (part, parts), self.groups)
            faults = list(check_texts(folder, encoding(folder, hashed), part, said))
            found = [fault.content() for fault in faults]
            store.create(name, json.dumps(found, sort_keys=True).encode())
        return Summary(rows=1, done=1)


def check_markers(folder: SetFolder) -> Iterator[Fault]:
    """Yields faults of the markers of encoded values, whose content must give their config hash."""
    for one in encodings(folder.store, folder.path):
        file = f"{one.folder}/{MARKER}"
        try:
            about = one.about()
        except DamagedError as error:
            yield Fault(KIND, file, "", error.found)
            continue
        if about is not None and not _is_right(one, about):
            yield Fault(KIND, file, "", "it does not match the name of its folder")


def right_encodings(folder: SetFolder, *, texts: bool) -> Iterator[tuple[Encoding, dict[str, Any]]]:
    """Yields complete latents, or text states, whose markers are correct, with the content."""
    for one in encodings(folder.store, folder.path):
        if one.texts == texts:
            try:
                about = one.about()
            except DamagedError:  # `check_markers` reports it
                continue
            if about is not None and _is_right(one, about):
                yield one, about


def _is_right(one: Encoding, about: dict[str, Any]) -> bool:
    identity = {name: value for name, value in about.items() if name != "parts"}
    if about.get("kind") != ("texts" if one.texts else "latents"):
        return False
    if one.texts and not (isinstance(parts := about.get("parts"), int) and parts > 0):
        return False
    written = read_whole(one.store, one.name(MARKER)) == marker_bytes(about)
    return written and config_hash(identity) == one.hash


def check_latents(
    folder: SetFolder, entry: TarEntry, index: pa.Table, undecodable: Iterable[str]
) -> Iterator[Fault]:
    """Yields the faults of the latents of a tar's samples.

    Args:
        folder: The set.
        entry: The tar's entry in the manifest.
        index: The tar's correct index.
        undecodable: Ids of samples whose picture can't be decoded, and so have no latent.
    """
    ids = index["id"].to_pylist()
    for one, about in right_encodings(folder, texts=False):
        if about["resolution"] != entry.resolution:
            continue
        path = encoded_name(one.hash, entry.path)
        file = yield from _opened(folder, path, counted(len(ids), "sample"))
        if file is None:
            continue
        yield from _check(file, path, about["dtype"])
        found = [file.key(n).hex() for n in range(len(file))]
        for ident in sorted(set(found) - set(ids)):
            yield Fault(KIND, path, ident, "it belongs to no sample of the tar")
        for ident in sorted(set(ids) - set(found) - set(undecodable)):
            yield Fault(KIND, path, ident, "it has no latent")
        for number in np.flatnonzero(np.diff(file.starts) != 1).tolist():
            yield Fault(KIND, path, found[number], "it is not one latent")
        if not _fits(file.row, entry, about.get("factor")):
            yield Fault(
                KIND, path, "", f"latents are {file.row}, not for {entry.width} x {entry.height}"
            )


def _fits(row: tuple[int, ...], entry: TarEntry, factor: int | None) -> bool:
    """Returns whether the shape of latents matches the size of a tar's pictures."""
    if len(row) != 3 or not all(row):
        return False
    _, height, width = row
    scale = factor or entry.height // height
    return (width * scale, height * scale) == (entry.width, entry.height)


def check_texts(folder: SetFolder, one: Encoding, part: int, said: Said) -> Iterator[Fault]:
    """Yields the faults of a file of text states, for the samples that have the texts.

    Args:
        folder: The set.
        one: The text states.
        part: Number of the file.
        said: The texts whose states the file must have. The empty text, for dropped captions, is
            expected in addition.
    """
    about = one.about() or {}
    path = f"{one.folder}/{part_name(part)}"
    file = yield from _opened(folder, path, "text states", texts=True)
    if file is None:
        return
    found = list(_check(file, path, about["dtype"]))
    keys = [file.key(number) for number in range(len(file))]
    found += [
        Fault(KIND, path, key.hex(), "it belongs to another file")
        for key in keys
        if part_of(key, about["parts"]) != part
    ]
    if len(file.row) != 1:
        found.append(Fault(KIND, path, "", f"states are {file.row}"))
    for fault in found:
        text = f"text {fault.sample}: {fault.detail}" if fault.sample else fault.detail
        # The fault is reported for the first sample with the text; a damaged key matches no text.
        known = said.get(bytes.fromhex(fault.sample), [""])[0] if fault.sample else ""
        yield replace(fault, sample=known, detail=text)
    for key in sorted(said.keys() - set(keys)):
        for ident in said[key]:
            yield Fault(KIND, path, ident, f"its caption has no text states (text {key.hex()})")
    empty = text_key("")
    if part_of(empty, about["parts"]) == part and empty not in {*keys, *said}:
        yield Fault(KIND, path, "", "the empty text, which dropped captions have, has no states")


def _opened(
    folder: SetFolder, path: str, lost: str, *, texts: bool = False
) -> Generator[Fault, None, EncodedFile | None]:
    """Opens a file; yields a fault and returns None if that fails."""
    try:
        return EncodedFile(folder.store, folder.name(path), texts=texts)
    except FileNotFoundError:
        yield Fault(KIND, path, "", f"it is missing ({lost})")
    except DamagedError as error:
        yield Fault(KIND, path, "", f"{error.found} ({lost})")
    return None


def _check(file: EncodedFile, path: str, dtype: str) -> Iterator[Fault]:
    """Yields the faults of a file's bytes, with keys of values in place of samples."""
    if not file.well_formed or file.dtype != dtype:
        yield Fault(KIND, path, "", f"its header is wrong ({len(file):,} values)")
    if (size := file.store.size(file.name)) != file.size:
        yield Fault(KIND, path, "", f"it has {size:,} bytes, not {file.size:,}")
    for number, data in file.every():
        key = file.key(number)
        if number and key <= file.key(number - 1):
            yield Fault(KIND, path, key.hex(), "its key is out of order")
        try:
            value = file.value(number, data)
        except DamagedError:
            yield Fault(KIND, path, key.hex(), "its value was changed")
            continue
        if file.cut[number] > 1:
            yield Fault(KIND, path, key.hex(), "its mark of a cut text is neither 0 nor 1")
        if not is_finite(value.data, file.dtype):
            detail = f"it has infinite or NaN values; encode.dtype={file.dtype} may be too small"
            yield Fault(KIND, path, key.hex(), detail)


def is_finite(data: bytes, dtype: str) -> bool:
    """Returns whether all numbers are finite; infinity and NaN have all bits of the exponent set.

    Args:
        data: Bytes of the numbers.
        dtype: fp32, bf16 or fp16.
    """
    kind, exponent = EXPONENTS[dtype]
    numbers = np.frombuffer(data, kind)
    return not bool(np.any(numbers & exponent == exponent))
