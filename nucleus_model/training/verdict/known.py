"""Groups the reference pictures by what is known about them (source, tier, caption kind, ...).

A picture's groups come from the set that it is read from. If that set lacks columns, or has several
sets of them, the groups are left out, with a note.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.sets.columns import PLACED
from nucleus_model.data.draws import as_hex
from nucleus_model.data.loader import TrainingSet
from nucleus_model.training.verdict.collect import REFERENCE
from nucleus_model.training.verdict.plan import Planned

UNKNOWN = "(not known)"
WORDS = ((0, "none"), (8, "1 to 8"), (24, "9 to 24"), (1e9, "more"))
TITLES = {
    "source": "source",
    "tier": "tier",
    "curriculum": "curriculum bucket",
    "size": "size bucket",
    "kind": "caption kind",
    "words": "words of the caption",
    "read_from": "set it is read from",
}


@dataclass(frozen=True)
class Known:
    """Groups of the reference pictures.

    Attributes:
        groups: Criterion -> id -> group.
        notes: Notes for people about groups that are not available.
    """

    groups: Mapping[str, Mapping[str, str]]
    notes: tuple[str, ...] = ()


@dataclass
class Measured:
    """The reference pictures that are read from one set of a comparison.

    Attributes:
        name: The set: `a`, `b` or `reference`.
        opened: The opened set.
        rows: The pictures' rows in the plan.
        places: Tar number -> (row in the tar, id) of its pictures.
    """

    name: str
    opened: TrainingSet
    rows: Sequence[Mapping[str, Any]]
    places: dict[int, list[tuple[int, str]]] = field(init=False)

    def __post_init__(self) -> None:
        wanted = {row["id"] for row in self.rows}
        numbers = self.opened.by_id
        names = [n.decode() for n in as_hex(self.opened.tables.whole()["id"][numbers])]
        members = [(n, i) for n, i in zip(numbers.tolist(), names, strict=True) if i in wanted]
        tars, places = self.opened.place(np.array([n for n, _ in members], np.int64))
        self.places = defaultdict(list)
        for tar, place, (_, ident) in zip(tars.tolist(), places.tolist(), members, strict=True):
            self.places[tar].append((place, ident))

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Id -> origin of the caption that the picture is evaluated with."""
        origins = {}
        for tar, members in self.places.items():
            for place, ident in members:
                sources = self.opened.sample_at(tar, place).sources
                origins[ident] = sources[-1] if sources else "none"
        return origins

    @cached_property
    def sources(self) -> dict[str, str]:
        """Id -> the record's source, from the `.json` in the tar."""
        sources = {}
        for tar, members in self.places.items():
            path = self.opened.tables.path(tar)
            index = self.opened.tables.folder.index(path)
            offsets, sizes = (
                index.column(name).to_pylist() for name in ("json_offset", "json_size")
            )
            for place, ident in members:
                text = self.opened.store.read_range(path, offsets[place], sizes[place])
                sources[ident] = _source(text)
        return sources

    def columns(self) -> dict[str, dict[str, str]]:
        """Returns tier and curriculum bucket by id, if the set has columns.

        Raises:
            RequestError: The set has several sets of columns.
            FileNotFoundError: The columns of a tar are missing.
        """
        if not self.opened.tables.folder.all_columns():
            return {}
        columns = self.opened.tables.folder.columns()
        by_column: dict[str, dict[str, str]] = {
            name: {} for name in PLACED if name in columns.names
        }
        for tar, members in self.places.items():
            table = columns.values(self.opened.tables.path(tar))
            for name, of in by_column.items():
                values = table.column(name).to_pylist()
                for place, ident in members:
                    of[ident] = UNKNOWN if values[place] is None else str(values[place])
        return by_column


def measured(planned: Planned) -> Iterator[Measured]:
    """Yields the reference pictures by the set that they are read from."""
    rows = planned.pictures.filter(planned.pictures.column(REFERENCE))
    for name, arm in planned.arms.items():
        of_set = rows.filter(pc.equal(rows.column("read_from"), pa.scalar(name)))
        if of_set.num_rows:
            yield Measured(name, arm.open(planned.settings), of_set.to_pylist())


def known(parts: Sequence[Measured]) -> Known:
    """Groups the reference pictures.

    Args:
        parts: The pictures, from `measured`.
    """
    groups: dict[str, dict[str, str]] = {name: {} for name in TITLES}
    notes = []
    for part in parts:
        groups["source"] |= part.sources
        groups["kind"] |= part.kinds
        for row in part.rows:
            groups["size"][row["id"]] = f"{row['width']} x {row['height']}"
            groups["words"][row["id"]] = _words(row["caption"])
            groups["read_from"][row["id"]] = part.name.upper() if len(part.name) == 1 else part.name
        try:
            for name, of in part.columns().items():
                groups[name] |= of
        except (RequestError, CorpusError, FileNotFoundError) as error:
            notes.append(f"No groups by tier and curriculum bucket of some pictures: {error}.")
    if len(parts) < 2:
        del groups["read_from"]
    if set(groups["source"].values()) <= {UNKNOWN}:
        del groups["source"]
    titled = {TITLES[name]: of for name, of in groups.items() if of}
    return Known(titled, tuple(dict.fromkeys(notes)))


def _words(caption: str) -> str:
    count = len(caption.split())
    return next(name for most, name in WORDS if count <= most)


def _source(text: bytes) -> str:
    """Returns the source in a sample's `.json`, which may be malformed if others wrote the tar."""
    try:
        content = json.loads(text)
    except ValueError:
        return UNKNOWN
    source = content.get("source") if isinstance(content, dict) else None
    return UNKNOWN if source is None else str(source)
