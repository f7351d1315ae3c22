"""Determines the kind of a source, and finds its files.

`ingest.source` is a folder, a file, a glob (`*.tar`) or a numbered range (`{00000..00099}.tar`).
`ingest.kind=auto` determines the kind from file names and, where they do not suffice, from content.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.stages.ingest.listing.compressed_tars import refuse_compressed
from nucleus_data.stages.ingest.listing.formats import (
    HEAD,
    extension,
    is_image,
    is_unclear,
    shows_image,
)
from nucleus_data.stages.ingest.listing.picture_tables import holds_pictures, tables_of
from nucleus_data.stages.ingest.listing.walk import walk
from nucleus_data.stages.ingest.settings import IngestSettings, Kind
from nucleus_data.upstream.compressed import COMPRESSED, uncompressed

URL_LISTS = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson", ".txt")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_GLOB = re.compile(r"[*?\[]")


@dataclass
class Location:
    """The kind of a source and the location of its files.

    Attributes:
        kind: The kind of source.
        name: The source's name, which its records carry.
        uri: `ingest.source`, with local paths made absolute; distinguishes sources of one name.
        root: The folder to which file names are relative.
        files: File names relative to `root`, in order; empty for a folder of images.
        others: Extension -> number of files that are not part of the source. For a folder of tars,
            these are the other files beside the tars; for tables with pictures, the image files and
            tars anywhere below the folder.
    """

    kind: Kind
    name: str
    uri: str
    root: Store
    files: list[str] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)


def locate(settings: IngestSettings) -> Location:
    """Determines a source's kind and finds its files.

    Args:
        settings: The settings `source`, `kind`, `name` and `storage_options` are read.

    Raises:
        RequestError: The source does not exist, a file of it is missing, its kind can't be
            determined, or it is not of the kind that `settings.kind` requires.
    """
    uri = _uri(settings)
    refuse_compressed([uri], settings)
    others: dict[str, int] = {}
    if _is_pattern(uri):
        root, files = _pattern(uri, settings)
        refuse_compressed(files, settings)
        kind = _kind_of_files(root, files, settings)
    else:
        root = _existing(uri, settings)
        if root.ask(lambda: root.fs.isdir(root.path(""))):
            kind, files, others = _folder(root, settings)
        else:
            parent, _, name = uri.rpartition("/")
            root, files = Store(parent or "/", settings.storage_options), [name]
            if settings.kind in ("auto", "folder") and _is_image(root, name):
                return Location("folder", settings.name or _name(uri), uri, root, files)
            kind = _kind_of_files(root, files, settings)
    return Location(kind, settings.name or _name(uri), uri, root, files, others)


def check_there(settings: IngestSettings) -> None:
    """Raises RequestError if a source does not exist; globs and ranges are not checked."""
    if not _is_pattern(uri := _uri(settings)):
        _existing(uri, settings)


def _uri(settings: IngestSettings) -> str:
    source = settings.source
    # Stripping the slashes of `s3://` would make it a local folder called `s3:`.
    return absolute(source if source.endswith("://") else source.rstrip("/") or "/")


def _is_pattern(uri: str) -> bool:
    return bool(_RANGE.search(uri) or _GLOB.search(uri))


def _existing(uri: str, settings: IngestSettings) -> Store:
    root = Store(uri, settings.storage_options)
    if not root.exists(""):
        # For some stores, fsspec reports an unreachable path as one that does not exist.
        unsure = "" if root.local else ", or the store is unreachable"
        raise RequestError(f"ingest.source={settings.source!r}: no such file or folder{unsure}")
    return root


def absolute(source: str) -> str:
    """Returns a source's path or URL, with a local path made absolute."""
    if "://" in source and not source.startswith(("file://", "local://")):
        return source
    path = source.split("://", 1)[-1]
    return str(Path(path).expanduser().absolute())


def _name(uri: str) -> str:
    """Returns a source's default name: the last part of its path that is not a pattern."""
    parts = [part for part in uri.split("://", 1)[-1].split("/") if part]
    while len(parts) > 1 and _is_pattern(parts[-1]):
        parts.pop()
    last = parts[-1] if parts else "root"
    last = uncompressed(last)
    for suffix in (".tar", ".arrow", *URL_LISTS):
        last = last.removesuffix(suffix)
    return last or "root"


def _pattern(uri: str, settings: IngestSettings) -> tuple[Store, list[str]]:
    """Returns the folder above a glob or range, and the names of the files that it denotes."""
    whole, folder = uri, uri.rsplit("/", 1)[0]
    while _is_pattern(folder):
        folder = folder.rsplit("/", 1)[0]
    root = Store(folder or "/", settings.storage_options)
    names = [whole[len(folder) :].lstrip("/")]
    while match := _RANGE.search(names[0]):
        low, high = match.groups()
        span = match.span()
        names = [
            f"{name[: span[0]]}{number:0{len(low)}d}{name[span[1] :]}"
            for name in names
            for number in range(int(low), int(high) + 1)
        ]
        if not names:
            raise RequestError(f"ingest.source={settings.source!r}: the range {match[0]} is empty")
    if _GLOB.search(names[0]):
        globbed = [root.ask(partial(root.fs.glob, root.path(name))) for name in names]
        found = {path for paths in globbed for path in paths}
        names = sorted(path[len(root.root) :].lstrip("/") for path in found)
        if not names:
            raise RequestError(f"ingest.source={settings.source!r}: no file matches")
    missing = [name for name in names if not root.exists(name)]
    if missing:
        raise RequestError(
            f"ingest.source={settings.source!r}: {len(missing)} of {len(names)} files are missing: "
            f"{', '.join(missing[:5])}{', …' if len(missing) > 5 else ''} (in {root.uri})"
        )
    return root, names


def _kind_of_files(root: Store, files: list[str], settings: IngestSettings) -> Kind:
    """Returns the kind of a source that names files: tars, tables with pictures, or URL lists.

    Raises:
        RequestError: The kind can't be determined.
    """
    known = (".tar", ".arrow", *URL_LISTS)
    odd = [name for name in files if not uncompressed(name).lower().endswith(known)]
    if odd and settings.kind == "auto":
        if is_image(odd[0]):
            raise RequestError(
                f"ingest.source={settings.source!r} matches pictures, such as {odd[0]!r}. Give "
                "their folder, or a single picture; patterns are only for tars and lists"
            )
        raise RequestError(
            f"ingest.source={settings.source!r}: cannot tell what {odd[0]!r} is. Allowed: a "
            f"folder, a picture, .tar, .arrow, or a list ({', '.join(URL_LISTS)}, also compressed "
            f"as {' or '.join(COMPRESSED)}); or set ingest.kind"
        )
    tars = [name for name in files if name.lower().endswith(".tar")]
    if tars and len(tars) < len(files):
        raise RequestError(
            f"ingest.source={settings.source!r} matches both tars and URL lists; select one kind "
            "(`*.tar`)"
        )
    if settings.kind == "auto":
        return "tars" if tars else _kind_of_tables(root, files)
    if settings.kind == "folder" or (settings.kind == "img2dataset" and not tars):
        raise RequestError(
            f"ingest.source={settings.source!r} is not a folder, but ingest.kind={settings.kind} "
            "requires one"
        )
    return settings.kind


def _kind_of_tables(root: Store, files: list[str]) -> Kind:
    """Returns, from the first of the tables, whether they hold pictures or URLs."""
    first = files[0].lower()
    embedded = first.endswith(".arrow") or (
        first.endswith(".parquet") and holds_pictures(root, files[0])
    )
    return "embedded" if embedded else "urls"


def _folder(root: Store, settings: IngestSettings) -> tuple[Kind, list[str], dict[str, int]]:
    """Returns the `kind`, `files` and `others` of a `Location` that is a folder."""
    if settings.kind == "folder":
        return "folder", [], {}
    names = root.list("")
    tars = [name for name in names if name.lower().endswith(".tar")]
    parquets = [name for name in names if name.endswith(".parquet")]
    tabled = {name[: -len(".tar")] for name in tars} & {
        name.removesuffix(".parquet") for name in parquets
    }
    kind: Kind
    if settings.kind == "embedded":
        tables = tables_of(root, names)
        if not tables:
            raise RequestError(
                f"ingest.source={settings.source!r}: this folder has no tables with pictures "
                "(.parquet, or the output of save_to_disk), which ingest.kind=embedded requires"
            )
        return "embedded", tables, _not_in_tables(root)
    if settings.kind != "auto":
        kind = settings.kind
    elif tars:
        kind = "img2dataset" if tabled else "tars"
        images = sum(_is_image(root, name) for name in names)
        if images:
            raise RequestError(
                f"ingest.source={settings.source!r} contains {len(tars)} tars and {images} images. "
                f"Choose which to ingest: ingest.kind={kind} or ingest.kind=folder"
            )
    elif not any(_is_image(root, name) for name in names) and (tables := tables_of(root, names)):
        return "embedded", tables, _not_in_tables(root)
    elif parquets and len(parquets) == len(names):
        kind = "urls"
    else:
        if not any(_is_image(root, name) for name in names):
            refuse_compressed(names, settings)
        return "folder", [], {}
    if kind in ("tars", "img2dataset"):
        refuse_compressed(names, settings)
    if kind == "img2dataset":
        # If a Parquet file's tar is missing, its rows still become records, with a failure reason.
        stems = {name.rsplit(".", 1)[0]: f"{name.rsplit('.', 1)[0]}.tar" for name in parquets}
        files = sorted((stems | {name[: -len(".tar")]: name for name in tars}).values())
    else:
        files = tars if kind == "tars" else parquets
    if not files:
        wanted = ".parquet" if kind == "urls" else ".tar"
        raise RequestError(
            f"ingest.source={settings.source!r}: this folder has no {wanted} files, which "
            f"ingest.kind={kind} requires"
        )
    known = set(files)
    beside = [extension(name) for name in names if kind == "tars" and name not in known]
    others = Counter(f".{suffix}" if suffix else "(none)" for suffix in beside)
    return kind, files, dict(others)


def _not_in_tables(root: Store) -> dict[str, int]:
    """Counts, by extension, the images and tars below a folder whose tables are the source."""
    names = (os.fsdecode(file.path) for file in walk(root, Counter()))
    found = Counter(extension(n) for n in names if is_image(n) or n.lower().endswith(".tar"))
    return {f".{suffix}": count for suffix, count in found.items()}


def _is_image(root: Store, name: str) -> bool:
    """Returns whether an entry of a folder is an image, reading it only if its name is unclear."""
    if is_image(name) or not is_unclear(name) or root.fs.isdir(root.path(name)):
        return is_image(name)
    try:
        return shows_image(root.read_range(name, 0, HEAD))
    except OSError:
        return False


def reopen(uri: str, storage_options: Mapping[str, Any]) -> Store:
    """Opens the root, a URI, of a source that was listed before, to read the files of a claim.

    Raises:
        CorpusError: It no longer exists.
    """
    root = Store(uri, storage_options)
    if not root.exists(""):
        raise CorpusError(
            f"the source {uri!r} no longer exists, but image shards were planned from it; restore "
            "it and run the same command again"
        )
    return root
