"""Tars in the webdataset layout, listed from their headers alone.

Members that follow each other and share a key (the name up to the first dot of its base name) are
one sample: an image, `.txt` or `.caption`, `.json`. A sample with several images is as many
records. Keys are `<tar's name>/<member key>`; a key that comes again gets `.1`, `.2`, …: no member
key holds a dot in its base name, so these are never another's key. A name such as `../x` or `/x`
is a string and nothing else: no path is ever made of it.

A tar that is cut or damaged gives its readable samples and one more record, `tar_truncated`.
Members that are no image and belong to none are counted by extension.
"""

import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.listing.formats import counted, extension, is_image
from nucleus_data.stages.ingest.listing.locate import Location
from nucleus_data.stages.ingest.listing.spool import LOCATION, Listing, Spool, quoted

BLOCK = tarfile.BLOCKSIZE
CAPTIONS = (".txt", ".caption")
TRUNCATED = "tar_truncated"


@dataclass(frozen=True)
class Member:
    """A regular file in a tar: its name, where its bytes are, how many."""

    name: str
    offset: int
    size: int

    @property
    def key(self) -> str:
        """The name up to the first dot of its base name."""
        folder, slash, base = self.name.rpartition("/")
        return folder + slash + base.split(".", 1)[0]

    @property
    def suffix(self) -> str:
        """What follows the first dot of the base name, with it, lower case."""
        _, dot, rest = self.name.rpartition("/")[2].partition(".")
        return (dot + rest).lower()


@dataclass
class TarWalk:
    """Iterates over the members of a tar that are wholly there, then says what is wrong.

    Args:
        file: The tar, seekable.
        size: Its bytes.

    Attributes:
        damage: After the last member: what is wrong with the tar, or None.
    """

    file: IO[bytes]
    size: int
    damage: str | None = field(default=None, init=False)

    def __iter__(self) -> Iterator[Member]:
        """Walks the headers; memory does not grow with their number."""
        try:
            with tarfile.open(fileobj=self.file, mode="r:") as tar:
                while (info := tar.next()) is not None:
                    # tarfile keeps every member that it has seen, to find them by name.
                    tar.members = []  # type: ignore[attr-defined]
                    if info.offset_data + info.size > self.size:
                        self.damage = f"the tar ends at byte {self.size}, inside {info.name!r}"
                        return
                    if info.isreg():
                        yield Member(info.name, info.offset_data, info.size)
                end = tar.offset
        except (tarfile.TarError, EOFError) as error:
            self.damage = str(error)
            return
        self.file.seek(end)
        tail = self.file.read(BLOCK)
        if tail != bytes(BLOCK):
            what = "a damaged header" if len(tail) == BLOCK else "no end-of-archive mark"
            self.damage = f"{what} at byte {end} of {self.size}; what follows it is lost"


def list_tars(location: Location, folder: Path, limit: int | None) -> Listing:
    """Lists the samples of all tars, in the order of the tars' names and of their members.

    Raises:
        RequestError: There is no image; the message says what there is.
    """
    skipped: Counter[str] = Counter()
    spool = Spool(folder / "members.parquet", LOCATION)
    with spool:
        for name in location.files:
            left = None if limit is None else limit - spool.count
            spool.add_all(tar_rows(location.root, name, skipped), left)
    if not spool.count:
        found = f"found {counted(dict(skipped))}" if skipped else "they are empty"
        raise RequestError(f"ingest.source={location.uri!r}: no images in the tars; {found}")
    query = f"SELECT * FROM read_parquet({quoted(str(spool.path))})"
    return Listing(query, skipped=dict(skipped))


def tar_label(name: str) -> str:
    """What stands for a tar in keys: its path below the source's root, without `.tar`."""
    return name[: -len(".tar")] if name.lower().endswith(".tar") else name


def tar_rows(root: Store, name: str, skipped: Counter[str]) -> Iterator[dict[str, Any]]:
    """The records of one tar, as rows of `LOCATION`."""
    label, path = tar_label(name), name.encode("utf-8", "surrogateescape")
    size = root.size(name)
    with root.fs.open(root.path(name), "rb") as file:
        walk = TarWalk(file, size)
        group: list[Member] = []
        for member in walk:
            if group and member.key != group[0].key:
                yield from _sample(label, path, group, skipped)
                group = []
            group.append(member)
        if group:
            yield from _sample(label, path, group, skipped)
    if walk.damage is not None:
        yield {
            "key": f"{label}.tar",
            "path": path,
            "error": TRUNCATED,
            "detail": walk.damage,
            "retryable": False,
        }


def _sample(
    label: str, path: bytes, group: list[Member], skipped: Counter[str]
) -> Iterator[dict[str, Any]]:
    """The rows of one sample: one for each of its images, all with its sidecars."""
    images = [member for member in group if is_image(member.name)]
    sidecars: dict[str, int] = {}
    for member in group:
        if images and member.suffix in CAPTIONS and "caption_offset" not in sidecars:
            sidecars |= {"caption_offset": member.offset, "caption_size": member.size}
        elif images and member.suffix == ".json" and "json_offset" not in sidecars:
            sidecars |= {"json_offset": member.offset, "json_size": member.size}
        elif member not in images:
            skipped[member.suffix or "(none)"] += 1
    for member in images:
        yield {
            "key": f"{label}/{printable(member.key)}",
            "path": path,
            "offset": member.offset,
            "size": member.size,
            "extension": extension(member.name),
            **sidecars,
        }


def printable(name: str) -> str:
    """A name as text; a byte that is no UTF-8 is written as a backslash, x and two digits."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
