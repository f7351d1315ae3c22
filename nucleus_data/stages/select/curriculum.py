"""Curriculum buckets: which of B1 to B10 a record is in, by its quality tier, size and id.

B1 to B8 are drawn (`draw`), by a keyed hash of the id: the low end of the corpus lies in B1, the
high end in B8. Premium records, by a condition, are in none of them: they are B9, and a share of
them, by a keyed hash, B10. Those of B10 are shown with B9, and once more at the end; no premium
record is meant to be augmented.

A record has no bucket where it has no tier or no size, or where something that its size or the
premium condition reads is not measured yet: else its bucket would change when it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nucleus_data.config import deciding
from nucleus_data.errors import RequestError
from nucleus_data.hashing import unit_sql
from nucleus_data.stages.select.database import sealed
from nucleus_data.stages.select.draw import AGAIN, NAMES, PREMIUM, Numbers, drawn, probabilities
from nucleus_data.stages.select.expression import Column, Expression, Names, parse_condition
from nucleus_data.stages.select.fit import FIT, CurriculumFit, load_fit
from nucleus_data.stages.select.rules import Try, tried
from nucleus_data.stages.select.settings import CurriculumSettings
from nucleus_data.stages.select.tiers import Tiers

KEY = "select.curriculum"
COLUMN = "curriculum"  # of the selection
FIELD = pa.field(COLUMN, pa.string())
VERSION = 1  # of the draw
DRAW, PREMIUM_DRAW = "curriculum:", "curriculum again:"  # of keyed hashes


@dataclass(frozen=True)
class Curriculum:
    """Checked buckets.

    Attributes:
        settings: As configured.
        size: SQL of a record's size.
        premium: SQL condition; None for no premium records.
        fit: The constants of the draw; None while they are being fitted.
    """

    settings: CurriculumSettings
    size: Expression
    premium: Expression | None
    fit: CurriculumFit | None

    @property
    def expressions(self) -> dict[str, Expression]:
        """Configuration key -> what is run."""
        premium = {f"{KEY}.premium": self.premium} if self.premium else {}
        return {f"{KEY}.size": self.size, **premium}

    @property
    def columns(self) -> tuple[Column, ...]:
        """What size and condition read."""
        read = (column for one in self.expressions.values() for column in one.columns)
        return tuple(dict.fromkeys(read))

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that must have a row before there is a bucket."""
        return tuple(dict.fromkeys(column.table for column in self.columns))

    def asked(self) -> dict[str, str]:
        """SQL of what is asked of each record: `size`, NULL if it is no number; `premium`."""
        size = f"CAST(({self.size.sql}) AS DOUBLE)"
        premium = f"CAST(({self.premium.sql}) AS BOOLEAN)" if self.premium else "false"
        return {"size": f"CASE WHEN isfinite({size}) THEN {size} END", "premium": premium}

    def identity(self) -> dict[str, Any]:
        """All that decides about a bucket, as JSON; the constants by their content."""
        assert self.fit is not None, "a selection is drawn with constants"
        settings = deciding(self.settings, without=("fitted",))
        return {**settings, "fitted": self.fit.model_dump(mode="json"), "version": VERSION}

    def places(self, tiers: NDArray[Any], sizes: Numbers) -> Numbers:
        """Where records stand, z, standardised."""
        assert self.fit is not None, "a bucket is drawn with constants"
        return self.fit.standardised(tiers, sizes)

    def chances(self, z: Numbers) -> Numbers:
        """p(B = k) of B1 to B8 for each place, (N, 8)."""
        own = self.settings
        return probabilities(z, reach=own.reach, variance=own.variance, temperature=own.temperature)

    def buckets(self, answers: pa.Table) -> pa.Array:
        """The name of each record's bucket, NULL if it has none.

        Args:
            answers: From `judge`: `id`, `tier`, `size`, `premium`.
        """
        tiers, sizes = (answers.column(name) for name in ("tier", "size"))
        known = pc.and_(pc.is_valid(tiers), pc.is_valid(sizes)).to_numpy()
        number, size = pc.fill_null(tiers, 1).to_numpy(), pc.fill_null(sizes, 0.0).to_numpy()
        seed = self.settings.seed
        unit = _units(answers.column("id"), f"{DRAW}{seed}:")
        found = drawn(self.chances(self.places(number, size)), unit)
        if self.premium:
            premium = pc.fill_null(answers.column("premium"), False).to_numpy()
            again = _units(answers.column("id"), f"{PREMIUM_DRAW}{seed}:") < self.settings.again
            found = np.where(premium, np.where(again, AGAIN, PREMIUM), found)
        return pa.array(NAMES).take(pa.array(found - 1, mask=~known))


def _units(ids: pa.ChunkedArray, prefix: str) -> Numbers:
    """A uniform number in [0, 1) for each id, a function of the id and a prefix alone."""
    connection = sealed()
    connection.register("drawn", pa.table({"id": ids}))
    try:
        found = connection.sql(f"SELECT {unit_sql(prefix)} AS unit FROM drawn").to_arrow_table()
    finally:
        connection.unregister("drawn")
    units: Numbers = found.column("unit").to_numpy()
    return units


def check_curriculum(
    settings: CurriculumSettings, tiers: Tiers | None, names: Names, *, drawing: bool = True
) -> Curriculum:
    """Parses size and condition, and reads the constants.

    Args:
        settings: The buckets as configured.
        tiers: The checked tiers.
        names: What SQL may read.
        drawing: Whether records are drawn, so that the constants must be there.

    Raises:
        RequestError: There are no tiers or no constants, these are of other tiers or sizes, or an
            expression does not parse, names an unknown column, or is not about one record.
    """
    if tiers is None:
        raise RequestError(
            f"{KEY} needs quality tiers: set select.tiers.score, or {KEY}=null for no buckets"
        )
    size = parse_condition(settings.size, f"{KEY}.size", names)
    premium = None
    if settings.premium is not None:
        premium = parse_condition(settings.premium, f"{KEY}.premium", names)
    fit = load_fit(settings.fitted) if drawing else None
    if fit:
        _check_fit(fit, settings, tiers)
    return Curriculum(settings, size, premium, fit)


def check_bucket_types(
    curriculum: Curriculum, types: Mapping[tuple[str, str], pa.DataType]
) -> None:
    """Tries size and condition on a record of NULLs.

    Args:
        curriculum: Checked buckets.
        types: (table, column) -> type, of all columns that they read.

    Raises:
        RequestError: One does not fit the types, the size is no number, or the condition is not
            true or false.
    """
    size, premium = curriculum.size, curriculum.premium
    where = f"{KEY}.size: {size.text!r}"
    (kind,) = tried([Try(size.sql, size.columns, where)], types)
    if kind in ("BOOLEAN", "VARCHAR"):
        raise RequestError(f"{where} is {kind.lower()}; a size is a number")
    tried([Try(curriculum.asked()["size"], size.columns, where)], types)
    if premium is None:
        return
    where = f"{KEY}.premium: {premium.text!r}"
    (kind,) = tried([Try(premium.sql, premium.columns, where)], types)
    if kind not in ("BOOLEAN", '"NULL"', "NULL"):
        raise RequestError(
            f"{where} is {kind.lower()}; it is a condition, true or false (compare it with "
            "something)"
        )


def _check_fit(fit: CurriculumFit, settings: CurriculumSettings, tiers: Tiers) -> None:
    """Refuses constants of other tiers or sizes: the places would have no mean 0 any more."""
    pairs: Sequence[tuple[str, Any, Any]] = (
        ("select.tiers.score", fit.score, tiers.score.text),
        ("select.tiers.bounds", list(fit.bounds), list(tiers.bounds)),
        (f"{KEY}.size", fit.size, settings.size),
        (f"{KEY}.quality_weight", fit.quality_weight, settings.quality_weight),
    )
    for key, was, now in pairs:
        if was != now:
            raise RequestError(
                f"{KEY}.fitted is of {key}={was!r}, which is now {now!r}; to fit it again, run: "
                f"{FIT}"
            )
