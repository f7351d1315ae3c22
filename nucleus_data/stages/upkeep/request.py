"""The request of a takedown: ids, URLs, hosts, SHA-256 of files, or pictures like a given one."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from nucleus_data.corpus.blocked import HOST, ID, SHA256, TAKEN_DOWN, URL, BlockList, Entry, plain
from nucleus_data.errors import RequestError
from nucleus_data.hashing import config_hash
from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.signals import load_group
from nucleus_data.stages.dedup.gather import READS

Hashes = Literal["upright", "canonical"]
GROUPS = {"upright": ("hash",), "canonical": ("canonical",)}


@dataclass(frozen=True)
class Like:
    """A picture's properties that `dedup` compares.

    Attributes:
        sha256: SHA-256 of the file.
        width, height: Upright size in pixels.
        phash: 64-bit perceptual hash.
        hash256: 256-bit perceptual hash, in hex.
    """

    sha256: str
    width: int
    height: int
    phash: int
    hash256: str


@dataclass(frozen=True)
class Request:
    """The criteria of a takedown; a record matches if it meets any of them.

    Values are in the form of the block list.

    Attributes:
        ids: Ids of records.
        urls: URLs of records.
        hosts: Hosts of URLs; each includes its subdomains.
        sha256: SHA-256 of files.
        like: Pictures; their near duplicates match.
    """

    ids: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()
    like: tuple[Like, ...] = ()

    @classmethod
    def of(
        cls,
        ids: Iterable[str] = (),
        urls: Iterable[str] = (),
        hosts: Iterable[str] = (),
        sha256: Iterable[str] = (),
        like: Iterable[Path] = (),
        hashes: Hashes = "upright",
    ) -> "Request":
        """Makes a request from values as a person writes them.

        Args:
            ids: Ids of records.
            urls: URLs.
            hosts: Hosts.
            sha256: SHA-256 of files.
            like: Files of pictures whose near duplicates match.
            hashes: The kind of hashes to compare, from `dedup.hashes`.

        Raises:
            RequestError: There is no criterion, a value is invalid, or a picture can't be decoded.
        """
        given = {ID: ids, URL: urls, HOST: hosts, SHA256: sha256}
        kinds = {k: tuple(sorted({plain(k, v) for v in found})) for k, found in given.items()}
        pictures = {
            picture.sha256: picture for picture in (measured(file, hashes) for file in like)
        }
        shown = tuple(pictures[digest] for digest in sorted(pictures))
        request = cls(kinds[ID], kinds[URL], kinds[HOST], kinds[SHA256], shown)
        if request == cls():
            raise RequestError("takedown needs --id, --url, --host, --sha256, --from or --like")
        return request

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "Request":
        """Makes a request from JSON; the inverse of `content`."""
        lists = {name: tuple(content[name]) for name in ("ids", "urls", "hosts", "sha256")}
        return cls(**lists, like=tuple(Like(**one) for one in content["like"]))

    def content(self) -> dict[str, Any]:
        """Returns the request as JSON."""
        return {name: list(values) for name, values in asdict(self).items()}

    @property
    def hash(self) -> str:
        """Hash for the takedown's name, the same for equal requests."""
        return config_hash({"takedown": self.content()})

    def entries(self) -> list[Entry]:
        """Returns the request's own entries for the block list."""
        values = {ID: self.ids, URL: self.urls, HOST: self.hosts, SHA256: self.sha256}
        return [Entry(kind, value, TAKEN_DOWN) for kind in values for value in values[kind]] + [
            Entry(SHA256, one.sha256, TAKEN_DOWN) for one in self.like
        ]

    def matcher(self) -> BlockList:
        """Returns a block list that matches the URLs of the request."""
        return BlockList({(e.kind, e.value): TAKEN_DOWN for e in self.entries()})


def measured(file: Path, hashes: Hashes) -> Like:
    """Computes a picture's hashes in the same way as `inspect`.

    Raises:
        RequestError: The picture can't be read or decoded.
    """
    try:
        data = file.read_bytes()
        picture = open_picture(data)
        header = picture.header
        seen: dict[str, Any] = {"width": header.width, "height": header.height}
        for name in GROUPS[hashes]:
            seen |= load_group(name).measure(picture, file.name)
    except (OSError, PixelError) as error:
        raise RequestError(f"--like {file}: {error}") from None
    columns = {what: name for table in READS[hashes].values() for what, name in table.items()}
    return Like(
        hashlib.sha256(data).hexdigest(),
        int(seen[columns["width"]]),
        int(seen[columns["height"]]),
        int(seen[columns["phash"]]),
        bytes(seen[columns["hash256"]]).hex(),
    )
