"""Builds one image shard from its claim: the tar of original bytes, then its records.

The records are derived from the claim and the tar alone, whichever process wrote the tar. What the
tar's images do not tell (why a row has none, captions found beside images) stands in its last
member, `outcomes.json`. So a worker that is killed between the tar and the records costs nothing,
and two that build the same shard cannot disagree: the first tar counts.
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
from nucleus_data.stages.ingest.fields import LEFT_OUT, chosen_columns
from nucleus_data.stages.ingest.hosts import keep_hosts, troubled_hosts
from nucleus_data.stages.ingest.http.downloader import resumes
from nucleus_data.stages.ingest.listing.formats import member_extension
from nucleus_data.stages.ingest.listing.spool import PREFIX
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
# Characters of upstream columns found beside the images of one shard; captions always fit.
MOST_TEXT = 256 << 20
_CAPTIONS = (CAPTION, CAPTIONS, CAPTION_ERROR)


def build_shard(
    corpus: Corpus,
    number: int,
    storage_options: Mapping[str, Any] | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Builds an image shard that is claimed; safe to call again, and by several at once.

    Args:
        corpus: The corpus.
        number: The claim's number.
        storage_options: Passed to fsspec for the source; a claim holds no credentials.
        workers: How many shards are built at once: they share the limits of hosts.

    Returns:
        Counts: rows, images, failed, bytes (of images), reasons (reason code -> rows); of downloads
        retryable (those of the failed that may pass) and hosts (in trouble -> URLs without a
        picture); and, if there are any, captions (reason code
        -> captions that were there and were not taken) and columns_left_out (values of upstream
        columns past those that a shard may have).

    Raises:
        CorpusError: The source is gone, the disk is full, or the shard's tar is another's.
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
        # Marked before the records are committed: killed in between, the marks point to a shard
        # that is not there, and nothing is superseded.
        corpus.records.supersede(places.rename_columns(["shard", "row", "id"]), number)
    corpus.records.append(number, table, footer)
    drop_kept(corpus, number)
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
        counts["hosts"] = troubled_hosts(corpus, number)
    if CAPTION_ERROR in table.column_names:
        untaken = Counter(reason for reason in table[CAPTION_ERROR].to_pylist() if reason)
        counts["captions"] = dict(sorted(untaken.items()))
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
    """Writes the tar of a claim into the corpus; removes the local one if another was faster."""
    number, incoming = claim.number, folder / "incoming"
    incoming.mkdir()
    blocked = read_blocked(corpus.store)
    if claim.origin.kind == "urls" and resumes(dict(claim.origin.settings)):
        # What came stays there until it is published, so that a kill at any moment loses at most
        # what was in flight; for that moment a shard needs room for three copies.
        with kept_folder(corpus, number, incoming) as kept:
            _pack(fetch(claim, storage_options, kept, workers, blocked), claim, tar)
            first = corpus.store.create_file(tar_name(number), tar)
            keep_hosts(corpus, number, kept)
    else:
        _pack(fetch(claim, storage_options, incoming, blocked=blocked), claim, tar)
        # Gone before the tar is copied, so that a shard needs room for two copies.
        shutil.rmtree(incoming)
        first = corpus.store.create_file(tar_name(number), tar)
    # Another worker's tar came first: downloads differ from hour to hour, so records are made of
    # that one.
    if not first:
        tar.unlink()


def _fetched_tar(corpus: Corpus, number: int, target: Path) -> Path:
    """The shard's tar as a local file."""
    path = corpus.store.path(tar_name(number))
    if corpus.store.local:
        return Path(path)
    with_retries(lambda: corpus.store.fs.get_file(path, str(target)))
    return target


def _pack(rows: Iterable[Fetched], claim: Claim, target: Path) -> None:
    """Writes the tar of a claim: images in the order of their rows, then what they do not tell."""
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
    """JSON-able content without lone surrogates (of odd names), which Parquet refuses."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def derive_records(claim: Claim, tar: Path) -> tuple[pa.Table, dict[str, str]]:
    """The records of a shard: a function of its claim and its tar alone.

    Args:
        claim: The claim.
        tar: The tar, as a local file.

    Returns:
        The rows of table `records`, and its footer: `tar_size` in bytes and `tar_sha256`.

    Raises:
        CorpusError: The tar is damaged, or holds an image of no row of the claim.
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
            f"{name} is not the tar of {claim.number:06d}.parquet in claims/: it holds "
            f"{min(strangers)}, which is no id of the claim. Move the tar away and ingest again"
        )
    rows: list[dict[str, Any]] = []
    for row, record in enumerate(ids):
        values: dict[str, Any] = {"shard": claim.number, "row": row, "id": record}
        image = content.images.get(record)
        outcome = content.outcomes.get(row, {})
        if image is not None:
            values |= image | {"retryable": False}
        elif record in content.taken_down:
            values |= {"error": TAKEN_DOWN, "retryable": False}
        else:
            values["error"] = outcome.get("error") or NOT_REPORTED
            values["detail"] = outcome.get("detail")
            # Where the tar does not tell why there is no image, another attempt may find one.
            values["retryable"] = bool(outcome.get("retryable", True))
        rows.append(values)
    given = claim.rows.select(["source", "key"])
    table = pa.Table.from_pylist(rows, pa.schema([*KEY_FIELDS, *VALUE_FIELDS]))
    for column in given.column_names:
        place = table.column_names.index(column)
        table = table.set_column(place, table.field(column), given[column])
    for column, array in _upstream(claim, content.outcomes).items():
        table = table.append_column(column, array)
    with tar.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return table, {"tar_size": str(tar.stat().st_size), "tar_sha256": digest}


def _upstream(
    claim: Claim, outcomes: Mapping[int, Mapping[str, Any]]
) -> dict[str, pa.ChunkedArray | pa.Array]:
    """The upstream columns: the claim's, filled up with what building found; captions first."""
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
    """The columns of these names; the number of others is one of them."""
    kept = {name: value for name, value in columns.items() if name in names or name == LEFT_OUT}
    if len(kept) < len(columns):
        kept[LEFT_OUT] = kept.get(LEFT_OUT, 0) + len(columns) - len(kept)
    return kept


def plain_array(values: list[Any]) -> pa.Array:
    """An Arrow array of JSON values: bool, int64, double, lists of texts; text when mixed."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {list}:
        return pa.array(values, pa.list_(pa.string()))
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int}:
        return pa.array(values, pa.int64())
    if kinds and kinds <= {int, float}:
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    return pa.array(
        [v if v is None or isinstance(v, str) else json.dumps(v) for v in values], pa.string()
    )
