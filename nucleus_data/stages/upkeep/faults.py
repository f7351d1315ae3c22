"""Faults that `verify` finds in a training set, with advice for each kind."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from nucleus_data.printed import counted

SHOWN = 3
_TAR = (
    "restore it from a copy; or remove it, its index (.index.parquet) and manifest.parquet, and "
    "run nucleus shard, which writes what is missing"
)
_INDEX = (
    "restore it from a copy; or remove it, its tar and manifest.parquet, and run nucleus shard, "
    "which writes what is missing"
)
_BESIDE = "remove its folder {name}/HASH, and run nucleus shard, which writes it again"
ADVICE = {
    "manifest": "restore it from a copy; or remove it, and run nucleus shard",
    "tar_missing": _TAR,
    "tar_size": _TAR,
    "picture_changed": _TAR,
    "picture_undecodable": _TAR,
    "picture_size": _TAR,
    "json_changed": _TAR,
    "header_changed": _TAR,
    "padding_changed": _TAR,
    "tar_changed": _TAR,
    "index_changed": _INDEX,
    "count": "remove manifest.parquet, and run nucleus shard",
    "captions": _BESIDE.format(name="captions"),
    "columns": _BESIDE.format(name="columns"),
    "duplicate": "the set was assembled from several: write it again with nucleus shard",
    "evaluation": "run nucleus dedup and select with dedup.against, then nucleus shard; or "
    "nucleus takedown --id",
    "blocked": "run nucleus takedown --id, which removes it from the set",
    "encoded": "remove each file that is named, and run nucleus encode, which makes it again; "
    "until then, a training encodes what is missing",
    "export_file": "remove the export's folder, and run nucleus export again",
    "export_blocked": "remove the export's folder, and run nucleus export again, once nucleus "
    "takedown has removed them from the set",
    "left_out": "remove left_out.parquet and manifest.parquet, and run nucleus shard",
}


@dataclass(frozen=True, order=True)
class Fault:
    """A fault of a training set.

    Attributes:
        kind: Kind of fault, a key of `ADVICE`.
        path: Path of the file, relative to the set.
        sample: Id of the sample; empty for a fault of a whole file.
        detail: Description for people.
    """

    kind: str
    path: str
    sample: str = ""
    detail: str = ""

    def content(self) -> dict[str, str]:
        """Returns the fault as JSON."""
        return asdict(self)


def table(faults: Iterable[Fault]) -> Iterator[str]:
    """Yields lines for people: the faults by kind, with the first of each kind and advice."""
    for kind, group in groupby(sorted(faults), key=lambda fault: fault.kind):
        found = list(group)
        samples = {fault.sample for fault in found if fault.sample}
        about = f", {counted(len(samples), 'sample')}" if samples else ""
        yield f"{kind}: {len(found):,}{about}. What to do: {ADVICE[kind]}"
        for fault in found[:SHOWN]:
            yield f"  {fault.path} {fault.sample} {fault.detail}".rstrip()
        if len(found) > SHOWN:
            yield f"  and {len(found) - SHOWN:,} more"


def as_faults(rows: Iterable[dict[str, Any]]) -> list[Fault]:
    """Makes faults from JSON; the inverse of `Fault.content`."""
    return [Fault(**row) for row in rows]
