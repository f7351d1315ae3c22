"""Quality tiers A1, A2, ... of records, by bounds on a score.

The score is a SQL expression on one record, like the condition of a rule. A record has no tier if
its score is NULL, NaN, below the first bound, or not measured yet; in no case is it pending for
that.
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
        """Configuration key -> checked expression."""
        return {KEY: self.score}

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that the score reads."""
        return self.score.columns

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that must have a record's row before it has a score."""
        return tuple(dict.fromkeys(column.table for column in self.columns))

    def asked(self) -> dict[str, str]:
        """Returns name -> SQL, of what `judge` evaluates for each record: `tier`."""
        return {"tier": self.sql()}

    def sql(self) -> str:
        """Returns SQL for the number of a record's tier, from 1; NULL if it has none."""
        score = f"({self.score.sql})"
        tiers = " ".join(
            f"WHEN {score} >= {bound!r} THEN {number}::TINYINT"
            for number, bound in reversed(list(enumerate(self.bounds, 1)))
        )
        # In DuckDB, NaN is larger than any number.
        return f"CASE WHEN isnan(CAST({score} AS DOUBLE)) THEN NULL {tiers} END"

    @property
    def order(self) -> str:
        """An item of an order of preference: higher scores first, records without a score last."""
        # Rounded, because the last bits of a model's output differ between machines.
        score = f"CAST(({self.score.text}) AS DOUBLE)"
        return f"{_BEFORE}{score}) THEN NULL ELSE round({score}{_BEHIND}"


_BEFORE, _BEHIND = "CASE WHEN isnan(", ", 2) END desc nulls last"


def is_score_order(text: str) -> bool:
    """Returns whether an item of an order of preference is `Tiers.order`."""
    return text.startswith(_BEFORE) and text.endswith(_BEHIND)


def tier_name(number: int) -> str:
    """Returns the name of a tier (A1, A2, ...), given its number from 1."""
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
        RequestError: The score does not parse, names an unknown column, or is not an expression on
            one record.
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
        RequestError: The score does not fit the types, or is not a number.
    """
    where = f"{KEY}: {tiers.score.text!r}"
    (kind,) = tried([Try(tiers.score.sql, tiers.columns, where)], types)
    if kind in ("BOOLEAN", "VARCHAR"):
        raise RequestError(f"{where} has type {kind.lower()}; a score must be a number")
    tried([Try(tiers.sql(), tiers.columns, where)], types)
