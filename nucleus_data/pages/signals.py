"""The distributions of numeric signals, in two passes: first the limits, then counts in bins."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nucleus_data.pages.tables import Rows, Tables

BINS = 36
FLOATS = ("FLOAT", "DOUBLE")
INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
KEYS = ("shard", "row", "id")
SKEWED = 12.0  # above this ratio of maximum to mean, the axis is logarithmic
FEW = 8  # integers with a smaller range get no histogram


@dataclass(frozen=True)
class Signal:
    """The distribution of a signal: counts in equal bins, of all records and of the kept ones."""

    table: str
    name: str
    low: float
    high: float
    logarithmic: bool
    every: Sequence[int]
    kept: Sequence[int]


@dataclass
class Limits:
    """Statistics of a column's finite values.

    Attributes:
        kind: The column's type in DuckDB.
        low: The smallest value.
        high: The largest value.
        total: The sum of the values.
        count: The number of values.
        positive: The smallest value above zero.
    """

    kind: str
    low: float | None = None
    high: float | None = None
    total: float = 0
    count: int = 0
    positive: float | None = None

    def add(
        self,
        low: float | None,
        high: float | None,
        total: float | None,
        count: int,
        positive: float | None,
    ) -> None:
        """Adds the statistics of further values."""
        self.low, self.positive = _least(self.low, low), _least(self.positive, positive)
        self.high = (
            high if self.high is None else self.high if high is None else max(self.high, high)
        )
        self.total, self.count = self.total + (total or 0), self.count + count

    @property
    def asked(self) -> tuple[float, float, bool] | None:
        """The range of the histogram, and whether its axis is logarithmic.

        None for a column with only a few values: a histogram of a flag or an orientation shows no
        more than a count.
        """
        low, high = self.low, self.high
        if low is None or high is None or low == high:
            return None
        if self.kind in INTEGERS and high - low < FEW:
            return None
        if low < 0 or high <= SKEWED * (self.total / self.count) or self.positive is None:
            return float(low), float(high), False
        # Starts above zero, which has no logarithm, and not at a tiny value that would stretch it.
        return float(max(self.positive, high / 1e6)), float(high), True


def _least(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)


def signals(tables: Tables) -> list[Signal]:
    """Returns the distributions of all numeric columns of `inspect.*` and `embed.*`.

    Columns with only a few values are left out.
    """
    known: dict[tuple[str, str], Limits] = {}
    for rows in tables.each(_limits):
        for table, name, kind, *values in rows:
            known.setdefault((table, name), Limits(kind)).add(*values)
    order = {name: n for n, name in enumerate([*tables.names("inspect."), *tables.names("embed.")])}
    asked = [
        (*place, *limits.asked)
        for place, limits in sorted(known.items(), key=lambda item: order[item[0][0]])
        if limits.asked is not None
    ]
    counts = [([0] * BINS, [0] * BINS) for _ in asked]
    for answers in tables.each(_histograms, asked) if asked else ():
        for (every, kept), rows in zip(counts, answers, strict=True):
            for place, count, count_kept in rows:
                every[place] += count
                kept[place] += count_kept
    return [Signal(*one, *found) for one, found in zip(asked, counts, strict=True)]


def _limits(tables: Tables) -> Rows:
    """Returns for some shards: table, column, its type, and the arguments of `Limits.add`."""
    rows: Rows = []
    for table in [*tables.names("inspect."), *tables.names("embed.")]:
        types = tables.columns(table)
        names = [n for n, kind in types.items() if kind in FLOATS + INTEGERS and n not in KEYS]
        if not names:
            continue
        stats = ", ".join(
            f"min({c}), max({c}), sum({c}), count({c}), min({c}) filter ({c} > 0)"
            for c in map(_finite, names)
        )
        (values,) = tables.rows(f"select {stats} from {tables.sql(table)}")
        for i, name in enumerate(names):
            rows.append([table, name, types[name], *values[5 * i : 5 * i + 5]])
    return rows


def _finite(name: str) -> str:
    return f'case when isfinite(cast("{name}" as double)) then "{name}" end'


def _histograms(tables: Tables, asked: Sequence[tuple[str, str, float, float, bool]]) -> list[Rows]:
    return [_histogram(tables, *one) if one[0] in tables else [] for one in asked]


def _histogram(
    tables: Tables, table: str, name: str, low: float, high: float, logarithmic: bool
) -> Rows:
    """Counts a signal's values; returns bin, count of all records, count of kept ones."""
    value, first, last = "v", low, high
    if logarithmic:
        value, first, last = f"ln(greatest(v, {low!r}))", math.log(low), math.log(high)
    values = f"(select shard, row, cast({_finite(name)} as double) as v from {tables.sql(table)})"
    if "selection" in tables:
        decisions = f"(select shard, row, state = 'kept' as k from {tables.sql('selection')})"
        joined = f"{values} left join {decisions} using (shard, row)"
        values = f"(select v, coalesce(k, false) as k from {joined})"
    else:
        values = f"(select v, false as k from {values})"
    place_of = f"floor(({value} - {first!r}) / {last - first!r} * {BINS})"
    return [
        *tables.rows(
            f"select least({BINS - 1}, greatest(0, {place_of}))::int, count(*), "
            f"count(*) filter (k) from {values} where v is not null group by 1"
        )
    ]
