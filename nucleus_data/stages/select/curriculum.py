"""Curriculum buckets B1 to B10 of records, by their quality tier, size and id.

B1 to B8 are drawn pseudo-randomly (`draw`), from a keyed hash of the id: the low end of the corpus
is mostly in B1, the high end in B8. Premium records, which meet a condition, are in B9 instead, or
in B10 for a share of them that is chosen by a keyed hash. In training, those in B10 are shown with
B9, and once more at the end. Premium records are not meant to be augmented.

A record has no bucket if it has no tier or no size, or if a value that the size or the premium
condition reads is not measured yet, because its bucket would change once it is.
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
COLUMN = "curriculum"  # name of the column in the selection
FIELD = pa.field(COLUMN, pa.string())
VERSION = 1  # version of the draw
DRAW, PREMIUM_DRAW = "curriculum:", "curriculum again:"  # keys of hashes


@dataclass(frozen=True)
class Curriculum:
    """Checked settings of curriculum buckets.

    Attributes:
        settings: The settings as configured.
        size: Checked SQL for the size of a record.
        premium: Checked SQL condition for premium records; None for none.
        fit: The constants of the draw; None while they are being fitted.
    """

    settings: CurriculumSettings
    size: Expression
    premium: Expression | None
    fit: CurriculumFit | None

    @property
    def expressions(self) -> dict[str, Expression]:
        """Configuration key -> checked expression."""
        premium = {f"{KEY}.premium": self.premium} if self.premium else {}
        return {f"{KEY}.size": self.size, **premium}

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that size and condition read."""
        read = (column for item in self.expressions.values() for column in item.columns)
        return tuple(dict.fromkeys(read))

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that must have a record's row before it has a bucket."""
        return tuple(dict.fromkeys(column.table for column in self.columns))

    def asked(self) -> dict[str, str]:
        """Returns name -> SQL of what `judge` evaluates: `size` (NULL if not finite), `premium`."""
        size = f"CAST(({self.size.sql}) AS DOUBLE)"
        premium = f"CAST(({self.premium.sql}) AS BOOLEAN)" if self.premium else "false"
        return {"size": f"CASE WHEN isfinite({size}) THEN {size} END", "premium": premium}

    def identity(self) -> dict[str, Any]:
        """Returns all that buckets depend on, as JSON; the constants by content, not by file."""
        assert self.fit is not None, "a selection is drawn with constants"
        settings = deciding(self.settings, without=("fitted",))
        return {**settings, "fitted": self.fit.model_dump(mode="json"), "version": VERSION}

    def places(self, tiers: NDArray[Any], sizes: Numbers) -> Numbers:
        """Returns the standardised places z of records, float64[N]; see `draw`."""
        assert self.fit is not None, "a bucket is drawn with constants"
        return self.fit.standardised(tiers, sizes)

    def chances(self, z: Numbers) -> Numbers:
        """Returns the probabilities of B1 to B8 for each place, float64[N, 8]."""
        own = self.settings
        return probabilities(z, reach=own.reach, variance=own.variance, temperature=own.temperature)

    def buckets(self, answers: pa.Table) -> pa.Array:
        """Returns the name of each record's bucket, NULL if it has none.

        Args:
            answers: The result of `judge`, with `id`, `tier`, `size`, `premium`.
        """
        tiers, sizes = (answers.column(name) for name in ("tier", "size"))
        known = pc.and_(pc.is_valid(tiers), pc.is_valid(sizes)).to_numpy()
        number, size = pc.fill_null(tiers, 1).to_numpy(), pc.fill_null(sizes, 0.0).to_numpy()
        seed = self.settings.seed
        unit = _units(answers.column("id"), f"{DRAW}{seed}:")
        buckets = drawn(self.chances(self.places(number, size)), unit)
        if self.premium:
            premium = pc.fill_null(answers.column("premium"), False).to_numpy()
            again = _units(answers.column("id"), f"{PREMIUM_DRAW}{seed}:") < self.settings.again
            buckets = np.where(premium, np.where(again, AGAIN, PREMIUM), buckets)
        return pa.array(NAMES).take(pa.array(buckets - 1, mask=~known))


def _units(ids: pa.ChunkedArray, prefix: str) -> Numbers:
    """Returns a uniform number in [0, 1) for each id, which depends only on id and prefix."""
    connection = sealed()
    connection.register("drawn", pa.table({"id": ids}))
    try:
        table = connection.sql(f"SELECT {unit_sql(prefix)} AS unit FROM drawn").to_arrow_table()
    finally:
        connection.unregister("drawn")
    units: Numbers = table.column("unit").to_numpy()
    return units


def check_curriculum(
    settings: CurriculumSettings, tiers: Tiers | None, names: Names, *, drawing: bool = True
) -> Curriculum:
    """Parses the size and the premium condition, and reads the constants.

    Args:
        settings: The settings as configured.
        tiers: The checked tiers; None for none.
        names: The names that expressions may use.
        drawing: Whether buckets will be drawn, which needs the constants.

    Raises:
        RequestError: Tiers or constants are missing; the constants were fitted with other tiers or
            sizes; or an expression does not parse, names an unknown column, or is not an expression
            on one record.
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
    """Tries the size and the premium condition on a record of NULLs.

    Args:
        curriculum: The checked settings.
        types: (table, column) -> type, of all columns that they read.

    Raises:
        RequestError: An expression does not fit the types, the size is not a number, or the
            condition is not a Boolean.
    """
    size, premium = curriculum.size, curriculum.premium
    where = f"{KEY}.size: {size.text!r}"
    (kind,) = tried([Try(size.sql, size.columns, where)], types)
    if kind in ("BOOLEAN", "VARCHAR"):
        raise RequestError(f"{where} has type {kind.lower()}; a size must be a number")
    tried([Try(curriculum.asked()["size"], size.columns, where)], types)
    if premium is None:
        return
    where = f"{KEY}.premium: {premium.text!r}"
    (kind,) = tried([Try(premium.sql, premium.columns, where)], types)
    if kind not in ("BOOLEAN", '"NULL"', "NULL"):
        raise RequestError(
            f"{where} has type {kind.lower()}; it must be a condition, true or false (compare it "
            "with something)"
        )


def _check_fit(fit: CurriculumFit, settings: CurriculumSettings, tiers: Tiers) -> None:
    """Refuses constants of other tiers or sizes, with which places would not have the mean 0."""
    pairs: Sequence[tuple[str, Any, Any]] = (
        ("select.tiers.score", fit.score, tiers.score.text),
        ("select.tiers.bounds", list(fit.bounds), list(tiers.bounds)),
        (f"{KEY}.size", fit.size, settings.size),
        (f"{KEY}.quality_weight", fit.quality_weight, settings.quality_weight),
    )
    for key, was, now in pairs:
        if was != now:
            raise RequestError(
                f"{KEY}.fitted was fitted with {key}={was!r}, which is now {now!r}; to fit it "
                f"again, run: {FIT}"
            )
