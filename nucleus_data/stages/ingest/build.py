"""Builds one image shard from its claim: first the tar of original images, then its records.

Records are a function of the claim and the tar only, whichever process wrote the tar. The tar's
last member, `outcomes.json`, has what the images don't show: why a row has no image, and captions
found beside images. So if a worker is killed between tar and records, nothing is lost; and if two
workers build the same shard, the first tar counts for both.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.blocked import TAKEN_DOWN, read_blocked
from nucleus_data.corpus.store import with_retries
from nucleus_data.corpus.tables import KEY_FIELDS
from nucleus_data.corpus.tar_names import OUTCOMES, tar_name
from nucleus_data.errors import CorpusError
from nucleus_data.stages.ingest.claims import RETRY_ROW, RETRY_SHARD, Claim, read_claim
from nucleus_data.stages.ingest.fetch import Fetched, fetch
from nucleus_data.stages.ingest.fields import LEFT_OUT, chosen_columns, plain_array
from nucleus_data.stages.ingest.hosts import keep_hosts, troubled_hosts
from nucleus_data.stages.ingest.http.downloader import resumes
from nucleus_data.stages.ingest.listing.formats import member_extension
from nucleus_data.stages.ingest.listing.spool import PREFIX
from nucleus_data.stages.ingest.shard_tar import Content as ShardContent
from nucleus_data.stages.ingest.shard_tar import ShardTar, read_shard_tar
from nucleus_data.stages.ingest.sidecars import CAPTION, CAPTION_ERROR, CAPTIONS
from nucleus_data.stages.ingest.work_folder import drop_kept, kept_folder, work_folder

VALUE_FIELDS = (
    pa.field("source", pa.string()),
    pa.field("key", pa.string()),
    pa.field("file", pa.string()),
    pa.field("offset", pa.int64()),
    pa.field("size", pa.int64()),
    pa.field("sha256", pa.string()),
    pa.field("error", pa.string()),
    pa.field("detail", pa.string()),
    pa.field("retryable", pa.bool_()),
)
NOT_REPORTED = "not_reported"
# Maximum characters of the upstream columns found beside a shard's images; beyond it, only captions
# are kept.
MOST_TEXT = 256 << 20
_CAPTIONS = (CAPTION, CAPTIONS, CAPTION_ERROR)


def build_shard(
    corpus: Corpus,
    number: int,
    storage_options: Mapping[str, Any] | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Builds a claimed image shard. Idempotent, also when several processes build it at once.

    Args:
        corpus: The corpus.
        number: The claim's number.
        storage_options: Options for fsspec, for the source; claims hold no credentials.
        workers: Number of shards built concurrently, which share the request limits of hosts.

    Returns:
        The shard's counts:

        - `rows`, `images`, `failed`: numbers of records, with and without an image.
        - `bytes`: total size of the images.
        - `reasons`: reason code -> number of failed rows.
        - `retryable` (downloads only): number of failed rows that may succeed later.
        - `hosts` (downloads only): host with problems -> number of its URLs without an image.
        - `captions` (if any): reason code -> number of captions that could not be used.
        - `columns_left_out` (if any): number of values in upstream columns beyond the maximum.

    Raises:
        CorpusError: The source is gone, the disk is full, or the tar is not that of the claim.
    """
    claim = read_claim(corpus, number)
    with work_folder(corpus, number) as folder:
        tar = folder / "shard.tar"
        if not corpus.store.exists(tar_name(number)):
            _publish(corpus, claim, dict(storage_options or {}), workers, folder, tar)
        if not tar.exists():
            tar = _fetched_tar(corpus, number, tar)
        table, footer = derive_records(claim, tar)
    if RETRY_SHARD in claim.rows.column_names:
        places = claim.rows.select([RETRY_SHARD, RETRY_ROW, "id"])
        # The marks come first: without the shard's records, they have no effect.
        corpus.records.supersede(places.rename_columns(["shard", "row", "id"]), number)
    corpus.records.append(number, table, footer)
    drop_kept(corpus, number)
    return _counts(corpus, claim, table)


def _counts(corpus: Corpus, claim: Claim, table: pa.Table) -> dict[str, Any]:
    """Returns the counts of a shard's records, in the form of `build_shard`."""
    reasons = Counter(reason for reason in table["error"].to_pylist() if reason is not None)
    counts: dict[str, Any] = {
        "rows": table.num_rows,
        "images": table.num_rows - reasons.total(),
        "failed": reasons.total(),
        "bytes": sum(size or 0 for size in table["size"].to_pylist()),
        "reasons": dict(sorted(reasons.items())),
    }
    if claim.origin.kind == "urls":  # what `retry` downloads again
        counts["retryable"] = pc.sum(table["retryable"]).as_py() or 0
        counts["hosts"] = troubled_hosts(corpus, claim.number)
    if CAPTION_ERROR in table.column_names:
        caption_errors = Counter(reason for reason in table[CAPTION_ERROR].to_pylist() if reason)
        counts["captions"] = dict(sorted(caption_errors.items()))
    if LEFT_OUT in table.column_names:
        counts["columns_left_out"] = pc.sum(table[LEFT_OUT]).as_py() or 0
    return counts


def _publish(
    corpus: Corpus,
    claim: Claim,
    storage_options: dict[str, Any],
    workers: int,
    folder: Path,
    tar: Path,
) -> None:
    """Writes a claim's tar into the corpus; removes the local tar if another worker was faster.

    Args:
        corpus: The corpus.
        claim: The claim.
        storage_options: Options for fsspec, for the source.
        workers: Number of shards built concurrently.
        folder: Temporary folder of the shard.
        tar: Where the local tar is written.
    """
    number, incoming = claim.number, folder / "incoming"
    incoming.mkdir()
    blocked = read_blocked(corpus.store)
    if claim.origin.kind == "urls" and resumes(dict(claim.origin.settings)):
        # Downloads are kept until the tar is published, so that a kill loses at most the requests
        # in flight. While publishing, a shard takes the space of three copies.
        with kept_folder(corpus, number, incoming) as kept:
            _pack(fetch(claim, storage_options, kept, workers, blocked), claim, tar)
            first = corpus.store.create_file(tar_name(number), tar)
            keep_hosts(corpus, number, kept)
    else:
        _pack(fetch(claim, storage_options, incoming, blocked=blocked), claim, tar)
        # Removed before the tar is copied, so that a shard takes the space of two copies only.
        shutil.rmtree(incoming)
        first = corpus.store.create_file(tar_name(number), tar)
    # Another worker's tar was first. Downloads may differ, so records must be made from that tar.
    if not first:
        tar.unlink()


def _fetched_tar(corpus: Corpus, number: int, target: Path) -> Path:
    """Returns the shard's tar as a local file; downloads it to `target` from an object store."""
    path = corpus.store.path(tar_name(number))
    if corpus.store.local:
        return Path(path)
    with_retries(lambda: corpus.store.fs.get_file(path, str(target)))
    return target


def _pack(rows: Iterable[Fetched], claim: Claim, target: Path) -> None:
    """Writes the tar of a claim: images in the order of their rows, then `outcomes.json`."""
    ids = claim.rows["id"].to_pylist()
    declared = claim.rows["extension"].to_pylist()
    outcomes: dict[str, dict[str, Any]] = {}
    text = 0
    with ShardTar(target) as tar:
        for row, fetched in enumerate(rows):
            outcome: dict[str, Any] = {}
            if fetched.data is None:
                outcome = {
                    "error": fetched.error,
                    "detail": fetched.detail,
                    "retryable": fetched.retryable,
                }
            else:
                suffix = member_extension(fetched.data, declared[row])
                tar.add(f"{ids[row]}.{suffix}", fetched.data)
            columns = fetched.columns
            text += sum(len(value) for value in columns.values() if isinstance(value, str))
            if text > MOST_TEXT:
                columns = _kept(columns, _CAPTIONS)
            if columns:
                outcome["columns"] = columns
            if outcome:
                outcomes[str(row)] = outcome
        if outcomes:
            content = {"version": 1, "rows": _clean(outcomes)}
            tar.add(OUTCOMES, json.dumps(content, sort_keys=True, indent=0).encode())


def _clean(value: Any) -> Any:
    """Escapes lone surrogates (from undecodable file names), which Parquet can't store."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def derive_records(claim: Claim, tar: Path) -> tuple[pa.Table, dict[str, str]]:
    """Derives the records of a shard from its claim and its tar.

    Args:
        claim: The claim.
        tar: The tar, as a local file.

    Returns:
        The rows of the table `records`, and keys for the part's footer: `tar_size` (bytes) and
        `tar_sha256`.

    Raises:
        CorpusError: The tar is damaged, or has an image that belongs to no row of the claim.
    """
    name = tar_name(claim.number)
    try:
        content = read_shard_tar(tar)
    except ValueError as error:
        raise CorpusError(f"{name} is damaged: {error}") from error
    ids = claim.rows["id"].to_pylist()
    strangers = content.images.keys() - set(ids)
    if strangers:
        raise CorpusError(
            f"{name} does not belong to claims/{claim.number:06d}.parquet: it contains "
            f"{min(strangers)}, which is not an id of this claim. Move the tar away and ingest "
            "again"
        )
    rows = [
        {"shard": claim.number, "row": row, "id": ident, **_outcome_of(content, row, ident)}
        for row, ident in enumerate(ids)
    ]
    table = pa.Table.from_pylist(rows, pa.schema([*KEY_FIELDS, *VALUE_FIELDS]))
    for column in ("source", "key"):
        place = table.column_names.index(column)
        table = table.set_column(place, table.field(column), claim.rows[column])
    for column, array in _upstream(claim, content.outcomes).items():
        table = table.append_column(column, array)
    with tar.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return table, {"tar_size": str(tar.stat().st_size), "tar_sha256": digest}


def _outcome_of(content: ShardContent, row: int, ident: str) -> dict[str, Any]:
    """Returns a record's image columns, or why it has no image."""
    image = content.images.get(ident)
    if image is not None:
        return image | {"retryable": False}
    if ident in content.taken_down:
        return {"error": TAKEN_DOWN, "retryable": False}
    outcome = content.outcomes.get(row, {})
    return {
        "error": outcome.get("error") or NOT_REPORTED,
        "detail": outcome.get("detail"),
        # If the tar does not say why there is no image, another attempt may get one.
        "retryable": bool(outcome.get("retryable", True)),
    }


def _upstream(
    claim: Claim, outcomes: Mapping[int, Mapping[str, Any]]
) -> dict[str, pa.ChunkedArray | pa.Array]:
    """Returns the upstream columns, captions first: the claim's, with values found by the build."""
    arrays = {name: claim.rows[name] for name in claim.rows.column_names if name.startswith(PREFIX)}
    arrays.setdefault(PREFIX + "extension", claim.rows["extension"])
    beside = {row: outcome.get("columns", {}) for row, outcome in outcomes.items()}
    chosen = chosen_columns(beside.values(), {*arrays, *_CAPTIONS})
    found: dict[str, dict[int, Any]] = {}
    for row, columns in beside.items():
        for name, value in _kept(columns, chosen).items():
            found.setdefault(name, {})[row] = value
    for name, values in found.items():
        earlier = arrays[name].to_pylist() if name in arrays else [None] * claim.rows.num_rows
        merged = [values.get(row, old) for row, old in enumerate(earlier)]
        arrays[name] = plain_array(merged)
    arrays.setdefault(PREFIX + "caption", pa.nulls(claim.rows.num_rows, pa.string()))
    order = sorted(arrays, key=lambda name: (name != PREFIX + "caption", name))
    return {name: arrays[name] for name in order}


def _kept(columns: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Returns the columns with these names, and the number of those left out as `LEFT_OUT`."""
    kept = {name: value for name, value in columns.items() if name in names or name == LEFT_OUT}
    if len(kept) < len(columns):
        kept[LEFT_OUT] = kept.get(LEFT_OUT, 0) + len(columns) - len(kept)
    return kept
