"""Checks that need stored vectors or two captions: SQL on tables, after `score_captions`.

Each is a condition as rules and `nucleus retry caption --where` take it, by the columns' names:

    nucleus retry caption corpus=C --where "short_similarity < 0.3"

The columns are those of `embed.match.VARIANT` and `embed.caption.VARIANT`. A condition on a value
that is missing is NULL, and finds nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

SIMILARITY = 0.3  # calibrated, a probability: what routing takes for wrong (RECIPE, section 7)
COSINE = 0.5  # of two texts in one space; captions of one picture are nearly always above


@dataclass(frozen=True)
class OnTables:
    """One condition on stored values.

    Attributes:
        name: `far_from_picture` or `variants_disagree`.
        tables: Tables that have its columns.
        columns: The columns.
        where: SQL, true for a caption that is likely wrong.
    """

    name: str
    tables: tuple[str, ...]
    columns: tuple[str, ...]
    where: str


def far_from_picture(variant: str, least: float = SIMILARITY) -> OnTables:
    """A caption whose calibrated similarity with its picture is below a probability."""
    column = f"{variant}_similarity"
    tables = (f"embed.match.{variant}",)
    return OnTables("far_from_picture", tables, (column,), f"{column} < {least!r}")


def variants_disagree(one: str, other: str, least: float = COSINE) -> OnTables:
    """Two captions of a picture whose vectors' cosine is low: one of them is likely wrong."""
    tables = (f"embed.caption.{one}", f"embed.caption.{other}")
    columns = (f"{one}_embedding", f"{other}_embedding")
    where = f"list_cosine_similarity({', '.join(columns)}) < {least!r}"
    return OnTables("variants_disagree", tables, columns, where)


def on_tables(variants: Sequence[str]) -> list[OnTables]:
    """All conditions on some variants."""
    found = [far_from_picture(variant) for variant in variants]
    return found + [variants_disagree(one, other) for one, other in combinations(variants, 2)]
