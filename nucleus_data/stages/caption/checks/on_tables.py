"""Checks on stored embeddings and similarities: SQL conditions, usable after `score_captions`.

Each is a condition for rules or for `nucleus retry caption --where`:

    nucleus retry caption corpus=C --variant short --where "short_similarity < 0.3"

The columns are those of `embed.match.VARIANT` and `embed.agree.ONE.OTHER`. A condition on a missing
value is NULL, and so finds nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

SIMILARITY = 0.3  # a calibrated probability, the same bound as in routing (routing.md)
COSINE = 0.5  # of two text embeddings; captions of one picture are nearly always above it


@dataclass(frozen=True)
class OnTables:
    """One condition on stored values.

    Attributes:
        name: `far_from_picture` or `variants_disagree`.
        tables: Tables with the columns.
        columns: Columns that the condition reads.
        where: SQL that is true for a caption that is likely wrong.
    """

    name: str
    tables: tuple[str, ...]
    columns: tuple[str, ...]
    where: str


def far_from_picture(variant: str, least: float = SIMILARITY) -> OnTables:
    """Returns the condition that a caption's calibrated similarity with its picture is low."""
    column = f"{variant}_similarity"
    tables = (f"embed.match.{variant}",)
    return OnTables("far_from_picture", tables, (column,), f"{column} < {least!r}")


def variants_disagree(one: str, other: str, least: float = COSINE) -> OnTables:
    """Returns the condition that two captions' embeddings have a low cosine similarity.

    Args:
        one: A variant.
        other: Another one, after it in alphabetical order.
        least: The cosine below which they disagree.
    """
    column = f"{one}_vs_{other}_cosine"
    tables = (f"embed.agree.{one}.{other}",)
    return OnTables("variants_disagree", tables, (column,), f"{column} < {least!r}")


def on_tables(variants: Sequence[str]) -> list[OnTables]:
    """Returns all conditions on some variants, each alone and each pair."""
    conditions = [far_from_picture(variant) for variant in variants]
    return conditions + [
        variants_disagree(one, other) for one, other in combinations(sorted(variants), 2)
    ]
