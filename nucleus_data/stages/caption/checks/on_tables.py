"""Checks that need stored vectors or two captions: SQL on tables, after `score_captions`.

Each is a condition as rules and `nucleus retry caption --where` take it, by the columns' names:

    nucleus retry caption corpus=C --where "short_similarity < 0.3"

The columns are those of `embed.match.VARIANT` and `embed.caption.VARIANT`. A condition on a value
that is missing is NULL, and finds nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

SIMILARITY = 0.3  # calibrated, a probability: what routing takes for wrong (RECIPE, section 7)
COSINE = 0.5  # of two texts in one space; captions of one picture are nearly always above


@dataclass(frozen=True)
class OnTables:
    """One condition on stored values.

    Attributes:
        name: `far_from_picture` or `variants_disagree`.
        variants: Those that it is about; the first is the one to ask again.
        tables: Tables that have its columns.
        where: SQL, true for a caption that is likely wrong.
    """

    name: str
    variants: tuple[str, ...]
    tables: tuple[str, ...]
    where: str


def far_from_picture(variant: str, least: float = SIMILARITY) -> OnTables:
    """A caption whose calibrated similarity with its picture is below a probability."""
    where = f"{variant}_similarity < {least!r}"
    return OnTables("far_from_picture", (variant,), (f"embed.match.{variant}",), where)


def variants_disagree(one: str, other: str, least: float = COSINE) -> OnTables:
    """Two captions of a picture whose vectors' cosine is low: one of them is likely wrong."""
    cosine = f"list_cosine_similarity({one}_embedding, {other}_embedding)"
    tables = (f"embed.caption.{one}", f"embed.caption.{other}")
    return OnTables("variants_disagree", (one, other), tables, f"{cosine} < {least!r}")


def on_tables(variants: Sequence[str], columns: Collection[str]) -> list[OnTables]:
    """The conditions for which there are columns.

    Args:
        variants: Names of caption variants.
        columns: Names of the columns that the corpus has.
    """
    every = [far_from_picture(variant) for variant in variants]
    every += [variants_disagree(one, other) for one, other in combinations(variants, 2)]
    needed = {
        each: [f"{each.variants[0]}_similarity"]
        if each.name == "far_from_picture"
        else [f"{variant}_embedding" for variant in each.variants]
        for each in every
    }
    return [each for each in every if set(needed[each]) <= set(columns)]
