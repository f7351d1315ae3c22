"""Walks the members of a tar, reading only headers, in bounded memory and without recursion.

`tarfile` parses single headers; this module walks from one to the next. `tarfile`'s own walk is not
robust enough: it recurses once for each extended header, reads extended headers of any size into
memory, and raises various exceptions on a malformed one, so that one bad member ends the walk.

- Every member except folders is yielded. A member that can't be read as a file (a link, a device, a
  sparse file, a damaged name or size) has a `problem`; the walk continues behind it.
- If a header is damaged, the position of the next one is unknown: the walk ends, and `damage` says
  why.
- Concatenated tars (`cat a.tar b.tar`) are walked beyond each end-of-archive mark.
"""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

BLOCK = tarfile.BLOCKSIZE
ZEROS = bytes(BLOCK)
MOST_EXTENDED = 1 << 20
MOST_RECORDS = 1000
# Maximum length of a name in characters; PATH_MAX on Linux.
MOST_NAME = 4096
# Maximum number of zero bytes behind an end-of-archive mark that are searched for another tar.
MOST_ZEROS = 64 << 20
_CHUNK = 1 << 20
_PAX = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_LENGTH = re.compile(rb"([0-9]{1,8}) ")
_SIZE = re.compile(r"[0-9]{1,18}")
_NOT_FILES = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a tar that is not a folder.

    Attributes:
        name: Name in the tar; bytes that are not UTF-8 are lone surrogates.
        offset: Offset of the content in the tar, in bytes.
        size: Size of the content, in bytes.
        problem: The reason why the member can't be read as a file; None if it can.
    """

    name: str
    offset: int
    size: int
    problem: str | None = None

    @property
    def key(self) -> str:
        """The sample's key in webdataset: the name up to the first dot of its base name."""
        folder, slash, base = self.name.rpartition("/")
        return folder + slash + base.split(".", 1)[0]

    @property
    def suffix(self) -> str:
        """The base name from its first dot on, in lower case."""
        _, dot, rest = self.name.rpartition("/")[2].partition(".")
        return (dot + rest).lower()


@dataclass
class _Extended:
    """Content of the extended headers that precede a member: pax keywords, and a problem."""

    keywords: dict[str, str] = field(default_factory=dict)
    problem: str | None = None


@dataclass
class TarWalk:
    """Iterates over the complete files in a tar, and then reports its damage.

    Args:
        file: The tar, seekable.
        size: Size of the tar in bytes.

    Attributes:
        damage: Description of the tar's damage, or None; set when the iteration has ended.
    """

    file: IO[bytes]
    size: int
    damage: str | None = field(default=None, init=False)

    def __iter__(self) -> Iterator[Member]:
        """Yields the members that can be read."""
        return (member for member in self.members() if member.problem is None)

    def head(self, member: Member, size: int) -> bytes:
        """Returns a member's first bytes, at most `size`."""
        return self._read(member.offset, min(size, member.size))

    def members(self) -> Iterator[Member]:
        """Yields all members except folders; memory does not grow with their number."""
        place, ended, common, extended = 0, False, _Extended(), _Extended()
        while True:
            block = self._read(place, BLOCK)
            if block == ZEROS:
                after = self._after_zeros(place + BLOCK)
                if after is None:
                    return
                place, ended = after, True
                continue
            try:
                info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except (tarfile.HeaderError, ValueError) as error:
                self.damage = self._no_header(place, block, ended, str(error))
                return
            place, ended = place + BLOCK, False
            if info.size < 0:
                self._lost(f"the size of {_shown(info.name)} is {info.size}", place)
                return
            if info.type in (*_PAX, *_LONG):
                if place + info.size > self.size:
                    self._lost(f"an extended header claims {info.size} bytes", place)
                    return
                into = common if info.type == tarfile.XGLTYPE else extended
                self._extend(into, info, place)
                place += _blocks(info.size)
                continue
            start = self._past_sparse_map(info, block, place)
            member = _member(info, start, common, extended)
            extended = _Extended()
            place = start
            if _has_bytes(info):
                if start + member.size > self.size:
                    name = _shown(member.name)
                    self.damage = f"the tar ends at byte {self.size}, inside {name}"
                    return
                place += _blocks(member.size)
            if info.type != tarfile.DIRTYPE:
                yield member

    def _read(self, place: int, size: int) -> bytes:
        self.file.seek(place)
        return self.file.read(size)

    def _lost(self, what: str, place: int) -> None:
        self.damage = f"{what} at byte {place} of {self.size}; what follows it is lost"

    def _no_header(self, place: int, block: bytes, ended: bool, error: str) -> str:
        """Describes the damage at a position where a header is expected."""
        rest = f"at byte {place} of {self.size}"
        if ended:
            return f"bytes that are no tar follow the end-of-archive mark {rest}"
        if place >= self.size and place:
            return f"no end-of-archive mark at the end, byte {self.size}"
        if not place:
            packed = next((n for magic, n in _COMPRESSED.items() if block.startswith(magic)), None)
            if packed is not None:
                return f"this is {packed} data and no plain tar; decompress it"
            return f"this is not a tar ({error})"
        if len(block) < BLOCK:
            return f"the tar ends inside a header {rest}"
        return f"a damaged header ({error}) {rest}; what follows it is lost"

    def _after_zeros(self, place: int) -> int | None:
        """Returns the offset of the first block from `place` on that is not all zeros.

        Returns:
            None if there is no such block within the next `MOST_ZEROS` bytes; if the tar is longer,
            `damage` is set.
        """
        last = min(self.size, place + MOST_ZEROS)
        while place < last:
            chunk = self._read(place, min(_CHUNK, last - place))
            if not chunk:
                return None
            full = len(chunk.lstrip(b"\0"))
            if full:
                return place + (len(chunk) - full) // BLOCK * BLOCK
            place += len(chunk)
        if place < self.size:
            self.damage = (
                f"{self.size - place} bytes after {MOST_ZEROS >> 20} MB of zeros behind the "
                "end-of-archive mark were not looked at"
            )
        return None

    def _extend(self, into: _Extended, info: tarfile.TarInfo, place: int) -> None:
        """Reads an extended header into `into`.

        If several headers set a keyword, the first takes precedence, as in `tarfile`; among global
        headers, the last. A header that is too large is not read, but is noted as a problem.
        """
        if info.size > MOST_EXTENDED:
            into.problem = f"an extended header of {info.size} bytes (at most {MOST_EXTENDED})"
            return
        data = self._read(place, info.size)
        if info.type == tarfile.GNUTYPE_LONGLINK:
            return
        if info.type == tarfile.GNUTYPE_LONGNAME:
            keywords = {"path": _text(data.split(b"\0", 1)[0])}
        else:
            keywords, problem = _pax(data)
            into.problem = into.problem or problem
        newest = info.type == tarfile.XGLTYPE
        into.keywords = {**into.keywords, **keywords} if newest else {**keywords, **into.keywords}

    def _past_sparse_map(self, info: tarfile.TarInfo, block: bytes, place: int) -> int:
        """Returns the offset of a member's content, behind the map of an old GNU sparse file."""
        more = info.type == tarfile.GNUTYPE_SPARSE and bool(block[482])
        while more:
            block = self._read(place, BLOCK)
            place += BLOCK
            more = len(block) == BLOCK and bool(block[504])
        return place


def _member(info: tarfile.TarInfo, start: int, common: _Extended, extended: _Extended) -> Member:
    """Returns the member that a header, and the extended headers before it, describe."""
    keywords = {**common.keywords, **extended.keywords}
    problem = extended.problem or common.problem
    name, size = keywords.get("GNU.sparse.name") or keywords.get("path") or info.name, info.size
    if "size" in keywords:
        if _SIZE.fullmatch(keywords["size"]):
            size = int(keywords["size"])
        else:
            # The size in the member's own header still leads to the next member.
            problem = f"its size is {keywords['size'][:40]!r} in an extended header"
    if info.type in _NOT_FILES:
        problem = _NOT_FILES[info.type]
        if info.islnk() or info.issym():
            problem += f" to {_shown(info.linkname)}"
    elif not info.isreg():
        problem = f"of the type {info.type!r}, not a file"
    elif any(key.startswith("GNU.sparse.") for key in keywords):
        problem = "a sparse file"
    if not _has_bytes(info):
        size = 0
    name = name.rstrip("/")
    if len(name) > MOST_NAME:
        problem = f"its name has {len(name)} characters (at most {MOST_NAME})"
        name = f"{name[:1000]}…{name[-20:]}"
    return Member(name, start, size, problem)


def _has_bytes(info: tarfile.TarInfo) -> bool:
    """Returns whether content follows a header; the size of a link or device is meaningless."""
    return info.isreg() or info.type not in tarfile.SUPPORTED_TYPES


def _pax(data: bytes) -> tuple[dict[str, str], str | None]:
    """Parses a pax header.

    Returns:
        The keywords `path`, `size` and `GNU.sparse.*`; and a description of a malformed header, or
        None.
    """
    keywords: dict[str, str] = {}
    at = 0
    for _ in range(MOST_RECORDS):
        if at >= len(data) or not data[at]:
            return keywords, None
        match = _LENGTH.match(data, at)
        end = at + int(match[1]) if match else 0
        equals = data.find(b"=", match.end(), end) if match else -1
        if match is None or equals < 0 or end > len(data):
            return keywords, f"a malformed extended header: {data[at : at + 20]!r}"
        key = _text(data[match.end() : equals])
        if key in ("path", "size") or key.startswith("GNU.sparse."):
            keywords[key] = _text(data[equals + 1 : end - 1])
        at = end
    return keywords, f"an extended header of more than {MOST_RECORDS} records"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _shown(name: str) -> str:
    """Returns a name for a message, escaped, and cut to 100 characters."""
    return ascii(name if len(name) <= 100 else f"{name[:100]}…")


def _blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
