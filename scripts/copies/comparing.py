"""Pairs of files laid over each other: what the stage `compare` finds of them."""

import time
from typing import Any

import duckdb
import pyarrow as pa

from nucleus_data.pixels import Limits, open_picture
from nucleus_data.stages.compare.aligned import align
from nucleus_data.stages.compare.evidence import Known, compare, with_known
from nucleus_data.stages.compare.planes import Terms
from nucleus_data.stages.compare.preference import COLUMNS, MEASURES
from nucleus_data.stages.compare.terms import terms_of
from nucleus_data.stages.compare.views import share_of, view
from scripts.copies.damage import saved
from scripts.copies.originals import texture


def known_of(rows: list[dict[str, Any]]) -> list[Known]:
    """What the signals of some measured files say."""
    columns = {name: [row.get(name) for row in rows] for name in COLUMNS}
    asked = ", ".join(f"{sql} AS {name}" for name, sql in MEASURES.items())
    with duckdb.connect() as connection:
        connection.register("measured", pa.table({"place": list(range(len(rows))), **columns}))
        found = connection.sql(f"SELECT {asked} FROM measured ORDER BY place").to_arrow_table()
    return [Known(**row) for row in found.to_pylist()]


def pair_terms(one: bytes, other: bytes, known: Known, others: Known) -> Terms:
    """The terms of two files."""
    headers = [open_picture(data).header for data in (one, other)]
    share = share_of([(header.width, header.height) for header in headers])
    views = [view(data, share, Limits()) for data in (one, other)]
    return with_known(terms_of(align(*views), *views), known, others)


def costs(megapixels: float, rounds: int = 5) -> tuple[list[float], list[float]]:
    """Processor time in seconds: of decoding a JPEG of some megapixels, and of comparing two.

    Args:
        megapixels: Of the picture; its copy has half of them.
        rounds: How often it is measured.
    """
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    picture = texture(1, width, width * 3 // 4)
    small = picture.resize((round(width * 0.7), round(width * 0.75 * 0.7)))
    files = [saved(each, "JPEG", quality=90) for each in (picture, small)]
    share = share_of([picture.size, small.size])
    decoding, comparing = [], []
    for _ in range(rounds + 1):
        start = time.process_time()
        one = view(files[0], share, Limits())
        decoding.append(time.process_time() - start)
        other = view(files[1], share, Limits())
        start = time.process_time()
        compare(one, other, Known(), Known())
        comparing.append(time.process_time() - start)
    return decoding[1:], comparing[1:]
