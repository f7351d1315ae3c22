"""Makes thumbnails of the few pictures on a page: reads by ranges, reduces, encodes as data URIs.

Only records that the pipeline could decode are decoded here. A picture that failed, and might crash
the decoder, is shown as a placeholder with its reason.
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
    """Encodes bytes as a `data:` URI of a media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def thumbnails(
    store: Store, records: Iterable[Record], max_side: int = THUMBNAIL_SIDE
) -> dict[str, Picture]:
    """Makes a thumbnail of each record.

    Args:
        store: The corpus's store.
        records: The records to show; those without a file are left out.
        max_side: Longest side in pixels; smaller pictures keep their size.

    Returns:
        Id -> thumbnail, or the reason why the picture can't be read or decoded.
    """
    shards: dict[int, list[Record]] = {}
    for record in records:
        if record.file is not None:
            shards.setdefault(record.shard, []).append(record)
    pictures: dict[str, Picture] = {}
    for shard, members in sorted(shards.items()):
        members.sort(key=lambda record: record.offset)
        images = _read(store, shard, members)
        for record in members:
            try:
                thumbnail = thumbnail_jpeg(next(images), max_side)
            except PixelError as error:
                pictures[record.id] = Picture(None, str(error))
            except CorpusError as error:
                failed = [r for r in members if r.id not in pictures]
                pictures |= {r.id: Picture(None, str(error)) for r in failed}
                break
            else:
                pictures[record.id] = Picture(data_uri("image/jpeg", thumbnail))
    return pictures


def _read(store: Store, shard: int, members: list[Record]) -> Iterator[bytes]:
    """Yields the files of some records of a shard. Raises CorpusError."""
    columns = {
        name: [getattr(record, name) for record in members]
        for name in ("file", "offset", "size", "sha256")
    }
    try:
        tar_size = store.size(tar_name(shard))
    except FileNotFoundError:
        raise CorpusError(f"{store.url(tar_name(shard))} is missing") from None
    # The tar's current size will do: each picture's SHA-256 is checked, which detects more than a
    # comparison with the recorded size.
    yield from read_images(store, shard, pa.table(columns), tar_size)
