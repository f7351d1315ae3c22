"""Quality tiers: which of A1, A2, ... a record is in, by bounds of a score.

The score is a SQL expression on one record, as a rule's condition is. A record whose score is NULL,
not a number, below the first bound, or not measured yet has no tier; it does not wait for one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from nucleus_data.errors import RequestError
from nucleus_data.stages.select.expression import Column, Expression, Names, parse_condition
from nucleus_data.stages.select.rules import Try, tried
from nucleus_data.stages.select.settings import TierSettings

KEY = "select.tiers.score"


@dataclass(frozen=True)
class Tiers:
    """Checked tiers: the score, and the lowest score of each tier."""

    score: Expression
    bounds: tuple[float, ...]

    @property
    def expressions(self) -> dict[str, Expression]:
        """Configuration key -> what is run."""
        return {KEY: self.score}

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the score reads."""
        return self.score.columns

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that must have a row before there is a score."""
        return tuple(dict.fromkeys(column.table for column in self.columns))

    def asked(self) -> dict[str, str]:
        """SQL of what is asked of each record: `tier`."""
        return {"tier": self.sql()}

    def sql(self) -> str:
        """SQL: the number of a record's tier, from 1; NULL if it has none."""
        score = f"({self.score.sql})"
        tiers = " ".join(
            f"WHEN {score} >= {bound!r} THEN {number}::TINYINT"
            for number, bound in reversed(list(enumerate(self.bounds, 1)))
        )
        # NaN is larger than any number.
        return f"CASE WHEN isnan(CAST({score} AS DOUBLE)) THEN NULL {tiers} END"

    @property
    def order(self) -> str:
        """An item of an order of preference: the higher score first, then those without one."""
        # Rounded, so that the last bits of a model, which machines differ in, decide nothing.
        score = f"CAST(({self.score.text}) AS DOUBLE)"
        return f"{_BEFORE}{score}) THEN NULL ELSE round({score}{_BEHIND}"


_BEFORE, _BEHIND = "CASE WHEN isnan(", ", 2) END desc nulls last"


def is_score_order(text: str) -> bool:
    """Whether an item of an order of preference is that of the tiers' score."""
    return text.startswith(_BEFORE) and text.endswith(_BEHIND)


def tier_name(number: int) -> str:
    """The name of a tier, which counts from 1: A1 and so on."""
    return f"A{number}"


def check_tiers(
    settings: TierSettings, catalog: Mapping[str, str], upstream: Sequence[str]
) -> Tiers | None:
    """Parses the score; None if there are no tiers.

    Args:
        settings: The tiers as configured.
        catalog: Signal name -> table.
        upstream: Names that can be used as `source.NAME`.

    Raises:
        RequestError: It does not parse, names an unknown column, or is not about one record.
    """
    if settings.score is None:
        return None
    return Tiers(parse_condition(settings.score, KEY, Names(catalog, upstream)), settings.bounds)


def check_score(tiers: Tiers, types: Mapping[tuple[str, str], pa.DataType]) -> None:
    """Tries the score on a record of NULLs.

    Args:
        tiers: Checked tiers.
        types: (table, column) -> type, of all columns that the score reads.

    Raises:
        RequestError: It does not fit the types, or is no number.
    """
    where = f"{KEY}: {tiers.score.text!r}"
    (kind,) = tried([Try(tiers.score.sql, tiers.columns, where)], types)
    if kind in ("BOOLEAN", "VARCHAR"):
        raise RequestError(f"{where} is {kind.lower()}; a score is a number")
    tried([Try(tiers.sql(), tiers.columns, where)], types)
