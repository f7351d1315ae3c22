"""Measured pairs, and who of each survives: by an order of preference, and by comparing them."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from nucleus_data.stages.compare.evidence import score_of
from nucleus_data.stages.inspect.stage import InspectSettings
from nucleus_data.stages.select.database import sealed
from nucleus_data.stages.select.rules import check_order
from scripts.copies.comparing import known_of, pair_terms
from scripts.copies.damage import Variant
from scripts.copies.originals import Original
from scripts.copies.unseen import BEYOND
from scripts.copies.variants import VARIANTS
from scripts.rules.measuring import Row, file_row, groups

SIGNALS = tuple(name for name in InspectSettings().signals if name != "hash")
ORIGINAL = -1
ALL = (*VARIANTS, *BEYOND)


@dataclass(frozen=True)
class Work:
    """An original, and the places of the variants that are made of it.

    Attributes:
        original: The original.
        variants: Places in `ALL`.
        compared: Whether each copy is compared with the original, too.
    """

    original: Original
    variants: tuple[int, ...]
    compared: bool = True


def measured(work: Work) -> list[Row]:
    """Measures an original and its copies.

    Each row has the variant's place, and that of a copy the score of the original against it.
    """
    original = work.original
    data = original.file()
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    rows = [_row(original, ORIGINAL, data)]
    for place in work.variants:
        made = ALL[place].make(picture, original.number + place)
        row = _row(original, place, made)
        score = 0.0
        if work.compared:
            score = score_of(pair_terms(data, made, *known_of([rows[0], row])))
        rows.append({**row, "score": score})
    return rows


def _row(original: Original, place: int, data: bytes) -> Row:
    truth: dict[str, Any] = {"group": original.group, "number": original.number, "variant": place}
    return file_row(SIGNALS, "", "", data, "") | truth


def ranks(rows: Sequence[Row], prefer: Sequence[str]) -> np.ndarray:
    """The place of each row in an order of preference over all of them; lower is better.

    Args:
        rows: From `measured`.
        prefer: As `select.prefer`.
    """
    fields = [(group.name, field) for group in groups(SIGNALS) for field in group.schema]
    catalog = {field.name: f"inspect.{name}" for name, field in fields}
    types = {(f"inspect.{name}", field.name): field.type for name, field in fields}
    order = [item.sql for item in check_order(prefer, catalog, types)]
    columns = {f.name: pa.array([row.get(f.name) for row in rows], f.type) for _, f in fields}
    connection = sealed()
    table = pa.table({"place": pa.array(range(len(rows)), pa.int32()), **columns})
    connection.register("measured_copies", table)
    found = connection.sql(
        f"SELECT place FROM measured_copies ORDER BY {', '.join([*order, 'place'])}"
    )
    places = found.to_arrow_table().column("place").to_numpy()
    connection.unregister("measured_copies")
    rank = np.empty(len(rows), np.int64)
    rank[places] = np.arange(len(rows))
    return rank


def answers(rows: Sequence[Row], prefer: Sequence[str]) -> Iterator[tuple[Row, Variant, bool]]:
    """Yields each copy, how it was made, and whether its original survives."""
    rank = ranks(rows, prefer)
    kept = {(r["group"], r["number"]): rank[i] for i, r in enumerate(rows) if r["variant"] < 0}
    for i, row in enumerate(rows):
        if row["variant"] >= 0:
            better = kept[row["group"], row["number"]] < rank[i]
            yield row, ALL[row["variant"]], bool(better)


def together(rows: Sequence[Row], prefer: Sequence[str]) -> Iterator[tuple[Row, Variant, bool]]:
    """Yields as `answers`, but asks first what a comparison of the two says."""
    for row, variant, right in answers(rows, prefer):
        yield row, variant, row["score"] > 0 or (row["score"] == 0 and right)
