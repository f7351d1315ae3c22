"""The few pictures that the report shows: read by ranges, reduced, and turned into data URIs.

Only records that the pipeline could decode are decoded here; a picture that failed (and might kill
its reader) becomes a placeholder with its reason.
"""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from nucleus_data.corpus.images import read_images
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tar_names import tar_name
from nucleus_data.errors import CorpusError
from nucleus_data.pages.queries import Record
from nucleus_data.pixels import PixelError, thumbnail_jpeg

THUMBNAIL_SIDE = 288


@dataclass(frozen=True)
class Picture:
    """A thumbnail as a data URI, or the reason why there is none."""

    uri: str | None
    problem: str = ""


def data_uri(kind: str, data: bytes) -> str:
    """Bytes as a `data:` URI of this media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def thumbnails(
    store: Store, records: Iterable[Record], max_side: int = THUMBNAIL_SIDE
) -> dict[str, Picture]:
    """A thumbnail for each record, by id; a picture that cannot be read or decoded says why.

    Args:
        store: The corpus's store.
        records: Those to show.
        max_side: Longest side in pixels; smaller pictures keep their size.
    """
    shards: dict[int, list[Record]] = {}
    for record in records:
        if record.file is not None:
            shards.setdefault(record.shard, []).append(record)
    found: dict[str, Picture] = {}
    for shard, members in sorted(shards.items()):
        members.sort(key=lambda record: record.offset)
        images = _read(store, shard, members)
        for record in members:
            try:
                thumbnail = thumbnail_jpeg(next(images), max_side)
            except PixelError as error:
                found[record.id] = Picture(None, str(error))
            except CorpusError as error:
                found |= {r.id: Picture(None, str(error)) for r in members if r.id not in found}
                break
            else:
                found[record.id] = Picture(data_uri("image/jpeg", thumbnail))
    return found


def _read(store: Store, shard: int, members: list[Record]) -> Iterator[bytes]:
    columns = {
        name: [getattr(record, name) for record in members]
        for name in ("file", "offset", "size", "sha256")
    }
    try:
        tar_size = store.size(tar_name(shard))
    except FileNotFoundError:
        raise CorpusError(f"{store.url(tar_name(shard))} is missing") from None
    # Each picture's SHA-256 is checked, which says more than the size that the tar once had.
    yield from read_images(store, shard, pa.table(columns), tar_size)
