"""The block list of a corpus: records, URLs, hosts and files that no later ingest takes.

It consists of `blocked/000000.parquet` and so on, with the columns kind, value and reason. Each
file is one commit; they are applied in order. A value is a record's id, a URL, a host (including
its subdomains) or the SHA-256 of a file. An entry without a reason removes an earlier entry. As
only whole files are added, an ingest always reads a consistent state.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from urllib.parse import quote, unquote_to_bytes, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus.damaged import read_whole, reading
from nucleus_data.corpus.parts import encode_part
from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.printed import has_surrogate

FOLDER = "blocked"
ID, URL, HOST, SHA256 = "id", "url", "host", "sha256"
KINDS = (ID, URL, HOST, SHA256)
# Reasons: blocked by `nucleus block`, or by a takedown.
BLOCKED, TAKEN_DOWN = "blocked", "taken_down"
SCHEMA = pa.schema([("kind", pa.string()), ("value", pa.string()), ("reason", pa.string())])
BATCH = 10_000
# Interns kinds and reasons, so that a million entries share these strings.
_one = {word: word for word in (*KINDS, BLOCKED, TAKEN_DOWN)}
_SAFE = "/:=&?~+!$,;'@()*[]-._"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_DIGITS = {ID: 32, SHA256: 64}
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.:-]*[a-z0-9_])?")


@dataclass(frozen=True)
class Entry:
    """An entry of the block list.

    Attributes:
        kind: One of `KINDS`.
        value: The value, normalized by `plain`.
        reason: `blocked` or `taken_down`; None removes an earlier entry.
    """

    kind: str
    value: str
    reason: str | None = BLOCKED


@dataclass(frozen=True)
class Refusal:
    """Why a row is refused.

    Attributes:
        reason: Reason code for its record.
        detail: The entry of the list, in words.
    """

    reason: str
    detail: str


@dataclass(frozen=True)
class BlockList:
    """The current entries.

    Attributes:
        reasons: Kind and value -> reason.
    """

    reasons: dict[tuple[str, str], str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.reasons)

    def entries(self) -> list[Entry]:
        """Returns the entries, sorted by kind and value."""
        order = sorted(self.reasons, key=lambda key: (KINDS.index(key[0]), key[1]))
        return [Entry(*key, self.reasons[key]) for key in order]

    def of_id(self, ident: str) -> Refusal | None:
        """Returns why a record's id is refused; None if it is not."""
        return self._found(ID, ident)

    def of_url(self, url: str | None) -> Refusal | None:
        """Returns why a URL is refused, by itself or by its host; None if it is not."""
        if not url or not self.reasons:
            return None
        if (refusal := self._found(URL, plain_url(url))) is not None:
            return refusal
        refusals = (self._found(HOST, host) for host in parents(host_of(url)))
        return next(filter(None, refusals), None)

    def of_sha256(self, digest: str) -> Refusal | None:
        """Returns why a file is refused, by its SHA-256 in hex; None if it is not."""
        return self._found(SHA256, digest)

    def _found(self, kind: str, value: str) -> Refusal | None:
        reason = self.reasons.get((kind, value))
        return None if reason is None else Refusal(reason, f"the block list has {kind} {value}")


NOTHING = BlockList()


def read_blocked(store: Store) -> BlockList:
    """Reads the block list of a corpus; it is empty if there are no files.

    Raises:
        DamagedError: A file can't be read; without it, blocked pictures would be ingested.
    """
    files = {name: read_whole(store, name) for name in _paths(store)}
    digests = tuple(hashlib.sha256(data).digest() for data in files.values())
    # Cached: each task of an ingest reads the list, and parsing a million values takes seconds.
    if (found := _last.get(digests)) is None:
        found = BlockList(_reasons(store, files))
        _last.clear()
        _last[digests] = found
    return found


_last: dict[tuple[bytes, ...], BlockList] = {}  # the last list, by the SHA-256 of its files


def _reasons(store: Store, files: Mapping[str, bytes]) -> dict[tuple[str, str], str]:
    reasons: dict[tuple[str, str], str] = {}
    for name, data in files.items():
        with reading(store, name), pq.ParquetFile(pa.BufferReader(data)) as file:
            for batch in file.iter_batches(BATCH, columns=SCHEMA.names, use_threads=False):
                columns = (batch.column(field).to_pylist() for field in SCHEMA.names)
                for kind, value, reason in zip(*columns, strict=True):
                    if reason is None:
                        reasons.pop((kind, value), None)
                    else:
                        reasons[_one.get(kind, kind), value] = _one.get(reason, reason)
    return reasons


def add_blocked(store: Store, entries: Iterable[Entry]) -> list[Entry]:
    """Adds entries (or removes them, if they have no reason) in one commit.

    Entries that change nothing are not written. `blocked` does not replace `taken_down`.

    Returns:
        The entries that were written.
    """
    asked = sorted(set(entries), key=lambda entry: (KINDS.index(entry.kind), entry.value))
    number = len(_paths(store))
    while True:
        known = read_blocked(store).reasons
        new = [entry for entry in asked if _changes(entry, known.get((entry.kind, entry.value)))]
        if not new:
            return []
        rows = [{"kind": e.kind, "value": e.value, "reason": e.reason} for e in new]
        data = encode_part(pa.Table.from_pylist(rows, SCHEMA), {})
        if store.create(f"{FOLDER}/{number:06d}.parquet", data):
            return new
        number += 1  # another writer was faster: compare with its entries first


def plain(kind: str, value: str) -> str:
    """Normalizes a value for the list.

    Args:
        kind: One of `KINDS`.
        value: The value, as a user wrote it.

    Raises:
        RequestError: It is not a value of that kind.
    """
    text = value.strip()
    if kind in _DIGITS:
        found = text.lower()
        if not re.fullmatch(rf"[0-9a-f]{{{_DIGITS[kind]}}}", found):
            what = "record id" if kind == ID else "SHA-256"
            raise RequestError(f"{value!r} is not a {what}, which has {_DIGITS[kind]} hex digits")
        return found
    if kind == URL:
        if not host_of(text) or has_surrogate(text):
            raise RequestError(f"{value!r} is not a URL such as https://example.org/a.jpg")
        return plain_url(text)
    host = plain_host(text)
    # Hosts are compared without ports, so a host with a port would never match.
    if not _HOST.fullmatch(host) or (":" in host and not _is_ipv6(host)):
        raise RequestError(f"{value!r} is not a host such as images.example.org, without a port")
    return host


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


def plain_url(url: str) -> str:
    """Normalizes a URL for comparison: removes scheme, fragment and default port."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return url.strip()
    host = plain_host(parts.hostname or "")
    if port is not None and port != _DEFAULT_PORTS.get(parts.scheme.lower()):
        host += f":{port}"
    path = quote(unquote_to_bytes(parts.path or "/"), _SAFE)
    query = quote(unquote_to_bytes(parts.query), _SAFE)
    return f"{host}{path}?{query}" if query else f"{host}{path}"


def host_of(url: str) -> str:
    """Returns the normalized host of a URL; empty if it has none."""
    try:
        return plain_host(urlsplit(url.strip()).hostname or "")
    except ValueError:
        return ""


def plain_host(host: str) -> str:
    """Normalizes a host: lower case, ASCII (IDNA), no trailing dot."""
    host = host.lower().rstrip(".")
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host


def parents(host: str) -> Iterator[str]:
    """Yields a host and its parent domains: a.b.org, b.org, org."""
    while host:
        yield host
        host = host.partition(".")[2]


def _paths(store: Store) -> list[str]:
    return [f"{FOLDER}/{name}" for name in store.list(FOLDER) if name.endswith(".parquet")]


def _changes(entry: Entry, known: str | None) -> bool:
    if entry.reason == BLOCKED:
        return known is None
    return entry.reason != known
