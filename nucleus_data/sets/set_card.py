"""Writes the card of a set: when the set is published, and again for each new edition."""

from collections import Counter
from collections.abc import Callable

import pyarrow as pa

from nucleus_data.errors import RequestError
from nucleus_data.sets.card import README, Bucket, Captions, Shown, readme
from nucleus_data.sets.croissant import CROISSANT, croissant
from nucleus_data.sets.facts import read_facts
from nucleus_data.sets.features import IMAGE
from nucleus_data.sets.joined import joined_schema, suffix_of
from nucleus_data.sets.layout import SetFolder


def write_card(folder: SetFolder, name: str, say: Callable[[str], None]) -> None:
    """Writes README.md and croissant.json of a published set, replacing existing ones.

    Args:
        folder: The set.
        name: The set's name.
        say: Receives a message if croissant.json can't be written.
    """
    shown = shown_of(folder, name)
    folder.store.put(folder.name(README), readme(shown).encode())
    files = {entry.path: entry.sha256 for entry in folder.manifest()}
    try:
        folder.store.put(folder.name(CROISSANT), croissant(shown, files))
    except RequestError as error:
        say(f"  {error}")


def is_told(folder: SetFolder, edition: str) -> bool:
    """Returns whether a set's card mentions an edition, given its hash."""
    try:
        return edition in folder.store.read(folder.name(README)).decode("utf-8", "replace")
    except FileNotFoundError:
        return False


def shown_of(folder: SetFolder, name: str) -> Shown:
    """Collects the content of a set's card."""
    entries = folder.manifest()
    counted: Counter[tuple[int, str, int, int]] = Counter()
    size: Counter[tuple[int, str, int, int]] = Counter()
    for entry in entries:
        bucket = (entry.resolution, entry.aspect, entry.width, entry.height)
        counted[bucket] += entry.samples
        size[bucket] += entry.bytes
    facts = pa.struct([f for f in joined_schema(folder, None) if not f.name.startswith("caption")])
    fields = [pa.field("json", facts), pa.field("__key__", pa.string())]
    if entries:
        fields.insert(0, pa.field(suffix_of(folder, entries[0]), IMAGE))
    return Shown(
        name,
        folder.url().rstrip("/").rpartition("/")[2],
        "webdataset",
        [Bucket(*bucket, count, size[bucket]) for bucket, count in sorted(counted.items())],
        [*fields, pa.field("__url__", pa.string())],
        [
            Captions(edition.name, edition.hash, edition.tables, edition.without, edition.mix)
            for edition in folder.editions()
        ],
        read_facts(folder),
    )
