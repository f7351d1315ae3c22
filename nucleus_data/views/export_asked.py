"""Resolves the arguments of `nucleus export SET --as KIND`: set, edition, columns and target."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.sets.columns import Columns
from nucleus_data.sets.layout import MANIFEST, ROOT, SetFolder, published_sets
from nucleus_data.views.export_files import Joining
from nucleus_data.views.export_set import WORKERS, SetExport

EXPORTS = "exports"
NONE = "none"
DIGITS = 4  # minimum number of digits of a hash that names a set


def asked(
    target: str,
    kind: str,
    corpus: str,
    storage_options: Mapping[str, Any],
    *,
    captions: str | None = None,
    columns: str | None = None,
    out: str | None = None,
    resolutions: Sequence[int] = (),
    captioned: bool = False,
    workers: int = WORKERS,
) -> SetExport:
    """Returns the requested export.

    Args:
        target: A set's name, hash (4 digits or more), folder or URL.
        kind: One of `export_files.KINDS`.
        corpus: The corpus in which names and hashes are looked up; may be empty for a folder.
        storage_options: Options for fsspec.
        captions: Name or hash of the caption edition; None for the only one.
        columns: Hash of the index columns; `none` for none; None for the only ones, if any.
        out: Target folder or URL; None for a folder in the corpus.
        resolutions: Resolutions to export; empty for all.
        captioned: Whether to leave out samples without a caption.
        workers: Number of files to make at once.

    Raises:
        RequestError: There is no such set, edition or columns, or several match; or the target is a
            file.
    """
    folder = find_set(target, corpus, storage_options)
    edition = folder.edition(captions)
    found = _columns(folder, columns)
    parts = folder.url().rstrip("/").split("/")
    joining = Joining(parts[-2], folder, edition, found, captioned)
    if out is None:
        if not corpus:
            raise RequestError("no place for the export; give --out FOLDER or corpus=CORPUS")
        # The folder's name depends on the content, so that different exports do not collide.
        more = [f"-{found.hash}"] if found else []
        more += ["-captioned"] if captioned else []
        more += [f"-{resolution}" for resolution in sorted(resolutions)]
        name = f"{joining.hash}-{edition.hash}{''.join(more)}-{kind}"
        out = f"{corpus.rstrip('/')}/{EXPORTS}/{joining.name}/{name}"
    store = Store(out, storage_options)
    if store.local:
        place = Path(store.path(""))
        there = next(path for path in (place, *place.parents) if path.exists())
        if not there.is_dir():
            raise RequestError(f"--out {out}: {there} is a file; give a folder")
    return SetExport(joining, kind, store, tuple(resolutions), workers)


def find_set(target: str, corpus: str, storage_options: Mapping[str, Any]) -> SetFolder:
    """Finds a published set. Raises RequestError if none, or several, match.

    Args:
        target: The set's name, hash, folder or URL.
        corpus: The corpus in which names and hashes are looked up; may be empty.
        storage_options: Options for fsspec.
    """
    if "/" in target or not corpus:
        folder = SetFolder(Store(target, storage_options))
        if folder.published:
            return folder
        if not corpus:
            raise RequestError(
                f"{target!r} is not a training set (it has no {MANIFEST}); give its folder "
                "(sets/NAME/HASH in a corpus), or its name and corpus=CORPUS"
            )
    fitting, every = sets_called(target, Store(corpus, storage_options))
    if len(fitting) == 1:
        return fitting[0]
    what = "matches several training sets" if fitting else "is not a training set"
    known = ", ".join(each.path.removeprefix(f"{ROOT}/") for each in fitting or every) or "none"
    raise RequestError(f"{corpus}: {target!r} {what}; available: {known}")


def sets_called(target: str, store: Store) -> tuple[list[SetFolder], list[SetFolder]]:
    """Returns the published sets of a corpus that match a name or hash, and all published sets."""
    every = list(published_sets(store))
    wanted = target.strip("/").removeprefix(f"{ROOT}/")
    return [each for each in every if _is_called(each, wanted)], every


def _is_called(folder: SetFolder, wanted: str) -> bool:
    _, name, hashed = folder.path.rsplit("/", 2)
    if wanted in (name, f"{name}/{hashed}"):
        return True
    return len(wanted) >= DIGITS and hashed.startswith(wanted)


def _columns(folder: SetFolder, asked: str | None) -> Columns | None:
    if asked == NONE or (asked is None and not folder.all_columns()):
        return None
    return folder.columns(asked)
