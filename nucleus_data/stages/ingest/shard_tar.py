"""The tar of an image shard: written so that the same images give the same bytes, and read back."""

import hashlib
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nucleus_data.corpus.tar_names import OUTCOMES, TAKEN_DOWN_SUFFIX
from nucleus_data.stages.ingest.listing.tar_walk import TarWalk

MODE = 0o644


@dataclass
class Content:
    """What a shard's tar holds.

    Attributes:
        images: Record id -> file (member name), offset, size, sha256.
        outcomes: Row -> error, detail, retryable, columns, where there is something to say.
        taken_down: Ids of records whose picture was taken down: zeros stand in its place.
    """

    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    outcomes: dict[int, dict[str, Any]] = field(default_factory=dict)
    taken_down: set[str] = field(default_factory=set)


class ShardTar:
    """Writes an uncompressed ustar: no times, no owners, mode 0644."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tar.close()

    def add(self, name: str, data: bytes) -> None:
        """Adds a member."""
        info = tarfile.TarInfo(name)
        info.size = len(data)
        info.mode = MODE
        # As `addfile` does, without its copies and its list of members.
        head = info.tobuf(self._tar.format, self._tar.encoding or "utf-8", self._tar.errors)
        file = self._tar.fileobj
        assert file is not None
        for part in (head, data, bytes(-len(data) % tarfile.BLOCKSIZE)):
            file.write(part)
            self._tar.offset += len(part)


def read_shard_tar(path: Path) -> Content:
    """Reads a shard's tar, hashing each image.

    Raises:
        ValueError: It, or its `outcomes.json`, is damaged.
    """
    content = Content()
    with path.open("rb") as tar, path.open("rb") as file:
        walk = TarWalk(tar, path.stat().st_size)
        for member in walk:
            file.seek(member.offset)
            data = file.read(member.size)
            if member.name == OUTCOMES:
                rows = json.loads(data)["rows"]
                content.outcomes = {int(row): outcome for row, outcome in rows.items()}
                continue
            if member.name.endswith(TAKEN_DOWN_SUFFIX):
                content.taken_down.add(member.name.removesuffix(TAKEN_DOWN_SUFFIX))
                continue
            content.images[member.key] = {
                "file": member.name,
                "offset": member.offset,
                "size": member.size,
                "sha256": hashlib.sha256(data).hexdigest(),
            }
    if walk.damage is not None:
        raise ValueError(walk.damage)
    return content
