"""Finds the files to import captions from, and the columns to read."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.printed import has_surrogate
from nucleus_data.upstream.compressed import COMPRESSED, plain, uncompressed
from nucleus_data.upstream.data_sets import SAVED, saved_files
from nucleus_data.upstream.rows import BATCH, column_names, read_rows

KINDS = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
ALLOWED = (
    f".parquet, .csv, .tsv, .jsonl, .json with an object per line (also {', '.join(COMPRESSED)}),"
    " or a folder in the layout of `datasets` (metadata.csv, metadata.jsonl, Parquet files,"
    " save_to_disk)"
)
METADATA = "metadata"
CAPTIONS = ("caption", "text", "prompt", "description", "alt")
KEYS = ("key", "file_name", "filename", "file", "file_path", "path", "image")
URLS = ("url", "image_url", "source.url")
ID_DIGITS, HEX = 32, set("0123456789abcdef")
BLOCK = 1 << 22
SHOWN = 30  # columns in a message


@dataclass(frozen=True)
class SourceFile:
    """A file with captions.

    Attributes:
        name: The path below the given folder; the file's name if a single file was given.
        kind: `parquet`, `arrow`, `csv` or `jsonl`.
        folder: Folder that paths of pictures are relative to, such as `train/`; may be empty.
        store: The store whose root is the given file or folder.
        inner: Path below the store's root; empty if the root is the file.
    """

    name: str
    kind: str
    folder: str
    store: Store
    inner: str

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Opens the file, decompressed. Raises RequestError."""
        try:
            with plain(self.store, self.inner) as file:
                yield file
        except OSError as error:
            raise RequestError(f"{self.name} can't be read: {error}") from error

    def sha256(self) -> str:
        """Returns the SHA-256 of the stored file, without decompressing it."""
        digest = hashlib.sha256()
        with self.store.fs.open(self.store.path(self.inner), "rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
        return digest.hexdigest()


@dataclass(frozen=True)
class Mapping:
    """The columns to read.

    Attributes:
        by: How rows refer to records: by `id`, `key` or `url`.
        name: The column with that reference.
        caption: The column with the captions.
    """

    by: str
    name: str
    caption: str


def find_files(source: str) -> list[SourceFile]:
    """Finds the files at a path or URL, sorted by name.

    Raises:
        RequestError: There is no file, or none of a known kind.
    """
    name = source.rstrip("/").rpartition("/")[-1]
    store, place = _opened(source, name)
    if not store.exists(place):
        raise RequestError(f"no such file or folder: {source!r}")
    if not store.ask(lambda: store.fs.isdir(store.path(place))):
        return [SourceFile(_printable(name), _kind(name, source), "", store, place)]
    if place:
        store = Store(source)  # raises: the name of a folder must be UTF-8
    names = sorted(_below(store))
    chosen = _saved(store, names)
    if not chosen:
        known = [name for name in names if _kind(name)]
        chosen = [name for name in known if _is_metadata(name)] or known
    of_kind = {_kind(name): name for name in reversed(chosen)}
    if not of_kind:
        raise RequestError(f"{source} contains no caption files; allowed: {ALLOWED}")
    if len(of_kind) > 1:
        held = ", ".join(repr(_printable(name)) for name in sorted(of_kind.values()))
        raise RequestError(
            f"{source} contains files of several kinds, such as {held}; give the file with the "
            f"captions, or a folder with one kind; allowed: {ALLOWED}"
        )
    files = []
    for name in chosen:
        # Paths in a metadata file are relative to its own folder.
        folder = _printable(_folder(name)) if _is_metadata(name) else ""
        files.append(SourceFile(_printable(name), _kind(name), folder, store, name))
    return files


def _opened(source: str, name: str) -> tuple[Store, str]:
    """Returns a source's store, and its path in the store.

    A name that is not UTF-8 can't be part of a URL, so it must be that of a file in a folder.
    """
    if not has_surrogate(name):
        return Store(source), ""
    above = "/" if source.startswith("/") else "."
    return Store(source.rstrip("/").rpartition("/")[0] or above), name


def choose_columns(
    files: Sequence[SourceFile], given: dict[str, str | None], caption: str | None
) -> Mapping:
    """Chooses the columns to read.

    Args:
        files: The files.
        given: `id`, `key`, `url` -> column given by the user, if any.
        caption: Column with the captions, if given by the user.

    Raises:
        RequestError: A file lacks them.
    """
    naming = {by: name for by, name in given.items() if name}
    if len(naming) > 1:
        raise RequestError(
            "give only one of --id-column, --key-column and --url-column, got "
            f"{', '.join(naming.values())}"
        )
    for file in files:
        with file.open() as opened:
            columns = column_names(file.kind, opened, file.name)
        wanted = [name for name in (*naming.values(), caption) if name]
        if lacking := [name for name in wanted if name not in columns]:
            raise RequestError(_lacks(file, f"column {', '.join(lacking)}", columns))
        if file is files[0]:
            captions = _first(CAPTIONS, columns) if caption is None else caption
            by, name = next(iter(naming.items())) if naming else _naming(file, columns)
            if captions is None or name is None:
                what = "captions (--caption-column)" if captions is None else "record names"
                raise RequestError(_lacks(file, f"known column of {what}", columns))
            naming, caption = {by: name}, captions
        taken = [name for name in (*naming.values(), caption) if name is not None]
        if twice := {name for name in taken if columns.count(name) > 1}:
            raise RequestError(
                f"{file.name} has several columns named {', '.join(sorted(twice))}; "
                "give each a unique name, so that it is clear which is meant"
            )
    assert caption is not None
    ((by, name),) = naming.items()
    return Mapping(by, name, caption)


def rows(file: SourceFile, mapping: Mapping) -> Iterator[Any]:
    """Yields a file's rows: (reference, caption). Raises RequestError if the file is damaged."""
    with file.open() as opened:
        yield from read_rows(file.kind, opened, (mapping.name, mapping.caption), file.name)


def _naming(file: SourceFile, columns: Sequence[str]) -> tuple[str, str | None]:
    """Guesses the column that refers to records: an id of this project, a key, or a URL."""
    own = _first(("id",), columns)
    if own is not None and _has_our_ids(file, own):
        return "id", own
    for by, known in (("key", KEYS), ("url", URLS)):
        if (name := _first(known, columns)) is not None:
            return by, name
    return "key", None


def _has_our_ids(file: SourceFile, column: str) -> bool:
    """Whether one of the first values of a column looks like a record id of this project."""
    with file.open() as opened:
        for number, row in enumerate(read_rows(file.kind, opened, (column,), file.name)):
            value = row.values[0] if row.values else None
            if value is not None:
                text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
                if len(text) == ID_DIGITS and not {*text.lower()} - HEX:
                    return True
            if number >= BATCH:
                break
    return False


def _first(known: Sequence[str], columns: Sequence[str]) -> str | None:
    """Returns the first known column name that exists, ignoring case."""
    lower = {column.lower(): column for column in reversed(columns)}
    return next((lower[name] for name in known if name in lower), None)


def _lacks(file: SourceFile, what: str, columns: Sequence[str]) -> str:
    more = f" and {len(columns) - SHOWN:,} more" if len(columns) > SHOWN else ""
    ids = (
        f" (no value in {columns[lower.index('id')]!r} is a record id, {ID_DIGITS} hex digits)"
        if what.endswith("record names") and "id" in (lower := [c.lower() for c in columns])
        else ""
    )
    return (
        f"{file.name} has no {what}{ids}; its columns: {', '.join(columns[:SHOWN]) or 'none'}{more}"
        ". Choose them with --id-column, --key-column or --url-column, and --caption-column"
    )


def _kind(name: str, source: str = "") -> str:
    """Returns a file's kind by its name, or empty; with `source`, raises RequestError instead."""
    lower = uncompressed(name).lower()
    kind = next((kind for ending, kind in KINDS.items() if lower.endswith(ending)), "")
    if lower != name.lower() and kind not in ("csv", "jsonl"):
        kind = ""
    if source and not kind:
        raise RequestError(f"{source} can't be imported; allowed: {ALLOWED}")
    return kind


def _below(store: Store) -> Iterator[str]:
    """Yields the names of all files below a folder, except hidden ones."""
    root = store.path("").rstrip("/") + "/"
    for path in store.ask(lambda: store.fs.find(store.path(""))):
        name = path.removeprefix(root)
        if not any(part.startswith(".") for part in name.split("/")):
            yield name


def _saved(store: Store, names: Sequence[str]) -> list[str]:
    """Returns the Arrow files of a data set saved by `datasets`, in order; empty if it is none."""
    states = [name for name in names if name.rsplit("/", 1)[-1] == SAVED]
    return [file for name in states for file in saved_files(store, _folder(name))]


def _is_metadata(name: str) -> bool:
    return name.rsplit("/", 1)[-1].partition(".")[0] == METADATA


def _printable(name: str) -> str:
    r"""Returns a name as in records' keys, with bytes that are not UTF-8 escaped as `\xff`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _folder(name: str) -> str:
    head, slash, _ = name.rpartition("/")
    return head + slash
