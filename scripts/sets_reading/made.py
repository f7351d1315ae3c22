"""Training sets for the bench of reading: of real pictures, or of indexes alone."""

import hashlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from nucleus_data.corpus.store import Store
from nucleus_data.sets.beside import encode
from nucleus_data.sets.editions import EDITION_SCHEMA
from nucleus_data.sets.index import INDEX_SCHEMA, index_name
from nucleus_data.sets.layout import SetFolder
from nucleus_data.sets.tars import TarWriter

EDITION = "e" * 16
CAPTION = "a photograph of a harbour at dusk, boats in front, houses on the hill behind them; "


def pictures(count: int, width: int, height: int, quality: int = 90) -> list[bytes]:
    """JPEGs with the detail of photographs: noise of all sizes."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(count):
        total = np.zeros((height, width, 3))
        for side in (4, 16, 64, 256):
            noise = generator.integers(0, 256, (side, side, 3), dtype=np.uint8)
            total += np.asarray(Image.fromarray(noise).resize((width, height)), np.float64)
        stream = io.BytesIO()
        Image.fromarray((total / 4).astype(np.uint8)).save(stream, "JPEG", quality=quality)
        found.append(stream.getvalue())
    return found


def write_set(
    folder: Path,
    samples: int,
    a_tar: int,
    stored: Sequence[bytes],
    stored_size: tuple[int, int],
    bucket: tuple[int, int],
) -> SetFolder:
    """Writes a set of one bucket, with an edition of two captions a sample.

    Args:
        folder: Where.
        samples: How many.
        a_tar: How many in a tar.
        stored: Pictures, taken in turn.
        stored_size: Their width and height.
        bucket: Width and height that they are trained at.
    """
    made = SetFolder(Store(str(folder)))
    edition, rows = made.new_edition(EDITION), []
    side = (stored_size[0] - stored_size[1]) // 2  # a crop in the middle, if they are originals
    crop = [0, 0, *bucket]
    if stored_size != bucket:
        crop = [side, 0, stored_size[0] - side, stored_size[1]]
    for number, start in enumerate(range(0, samples, a_tar)):
        path = f"{bucket[0]}/1x1/{number:06d}.tar"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        index = []
        with TarWriter(folder / path) as tar:
            for n in range(start, min(start + a_tar, samples)):
                ident, data = hashlib.md5(str(n).encode()).hexdigest(), stored[n % len(stored)]
                about = json.dumps({"id": ident, "licence": "cc0", "url": None}).encode()
                place = tar.add(f"{ident}.jpg", data), tar.add(f"{ident}.json", about)
                index.append(_row(ident, place, (len(data), len(about)), stored_size, crop, n))
        rows.append(_entry(path, bucket, len(index), tar.size, index, folder))
        ids = pa.array([row["id"] for row in index])
        said = [[f"{CAPTION * 2}{n}", f"{CAPTION * 5}{n}"] for n in range(len(ids))]
        sources = [["source", "synthesized:long"]] * len(ids)
        edition.write(path, pa.table([ids, said, sources], schema=EDITION_SCHEMA))
    _publish(made, edition, rows, samples)
    return made


def write_indexes(folder: Path, tars: int, a_tar: int, templates: int) -> SetFolder:
    """Writes a set of indexes without tars, of which some are the same file.

    Args:
        folder: Where.
        tars: How many.
        a_tar: Samples in each.
        templates: How many different indexes there are.
    """
    made = SetFolder(Store(str(folder)))
    edition, bucket, rows = made.new_edition(EDITION), (256, 256), []
    for number in range(tars):
        path = f"256/1x1/{number:06d}.tar"
        if number < templates:
            generator = np.random.default_rng(number)
            ids = [bytes(row).hex() for row in generator.integers(0, 256, (a_tar, 16), np.uint8)]
            index = [
                _row(i, (n * 1024, n * 1024 + 512), (500, 300), bucket, [0, 0, 256, 256], n)
                for n, i in enumerate(ids)
            ]
            rows.append(_entry(path, bucket, a_tar, a_tar * 1024, index, folder))
        else:
            source = folder / index_name(str(rows[number % templates]["path"]))
            os.link(source, folder / index_name(path))
            rows.append({**rows[number % templates], "path": path})
    _publish(made, edition, rows, tars * a_tar)
    return made


def _row(
    ident: str,
    place: tuple[int, int],
    sizes: tuple[int, int],
    stored: tuple[int, int],
    crop: list[int],
    number: int,
) -> dict[str, object]:
    values = (ident, place[0], sizes[0], place[1], sizes[1], *stored, crop, 0, number, "0" * 64)
    return dict(zip(INDEX_SCHEMA.names, values, strict=True))


def _entry(
    path: str,
    bucket: tuple[int, int],
    samples: int,
    size: int,
    index: list[dict[str, object]],
    folder: Path,
) -> dict[str, object]:
    target = folder / index_name(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(encode(pa.Table.from_pylist(index, INDEX_SCHEMA)))
    width, height = bucket
    names = ("path", "resolution", "aspect", "width", "height", "samples", "bytes")
    values = (path, width, "1x1", width, height, samples, size)
    return dict(zip(names, values, strict=True)) | {"sha256": "0" * 64, "index_sha256": "0" * 64}


def _publish(made: SetFolder, edition: object, rows: list[dict[str, object]], count: int) -> None:
    about = {"name": "source, long", "tables": [], "samples": count, "captions": 2 * count}
    edition.publish(about | {"without": 0, "mix": {}})  # type: ignore[attr-defined]
    made.publish(rows)
