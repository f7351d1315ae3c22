"""Checks the settings of `select` against the signals that exist, before any record is read."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import duckdb
import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.record_counts import parts_of_each_schema
from nucleus_data.corpus.tables import parts_list
from nucleus_data.errors import RequestError
from nucleus_data.hashing import config_hash
from nucleus_data.runner.pins import Pins
from nucleus_data.stages.compare.members import TABLE as COPIES
from nucleus_data.stages.compare.order import RANKED
from nucleus_data.stages.compare.preference import GROUPS, PREFER, RANK
from nucleus_data.stages.select.condition import AnyName
from nucleus_data.stages.select.curriculum import (
    Curriculum,
    check_bucket_types,
    check_curriculum,
)
from nucleus_data.stages.select.expression import Expression, Names
from nucleus_data.stages.select.rules import Rule, check_order, check_rules, check_types
from nucleus_data.stages.select.settings import SelectSettings
from nucleus_data.stages.select.tiers import Tiers, check_score, check_tiers

SCORES = "embed."  # prefix of the tables with scores of embeddings


class Checked(NamedTuple):
    """The parsed settings; `tiers` and `curriculum` are None if they are not configured."""

    rules: list[Rule]
    prefer: list[Expression]
    tiers: Tiers | None
    curriculum: Curriculum | None


def check_decisions(
    settings: SelectSettings,
    pins: Pins,
    upstream: Mapping[str, pa.DataType] | None = None,
    *,
    compared: bool = False,
) -> Checked:
    """Parses the rules, the order of preference, the quality tiers and the curriculum buckets.

    Args:
        settings: The settings of `select`.
        pins: The tables of signals that exist.
        upstream: `source.NAME` -> type, of the corpus's upstream columns; None without a corpus.
            Expressions that read them are then only parsed, not tried.
        compared: Whether the copies were compared, so that the default order begins with their
            rank.

    Raises:
        RequestError: A condition, the score or an order does not parse, names an unknown column or
            does not fit its columns; a signal group that `select` reads is not measured; or the
            buckets lack their constants.
    """
    catalog = pins.catalog()
    names = AnyName() if upstream is None else [n.removeprefix("source.") for n in upstream]
    rules = check_rules(settings, catalog, names)
    types = {**pins.signals(), **{("records", n): kind for n, kind in (upstream or {}).items()}}
    typed = [r for r in rules if upstream is not None or "records" not in r.tables]
    check_types(typed, types)
    tiers = check_tiers(settings.tiers, catalog, names)
    if tiers and (upstream is not None or "records" not in tiers.tables):
        check_score(tiers, types)
    curriculum = None
    if settings.curriculum:
        curriculum = check_curriculum(settings.curriculum, tiers, Names(catalog, names))
        if upstream is not None or "records" not in curriculum.tables:
            check_bucket_types(curriculum, types)
    # Only the order may read ranks. A rule that read them would leave records without a copy, which
    # have no rank, pending for ever.
    prefer = _order(
        order_of(settings, compared, tiers),
        {**catalog, **dict.fromkeys(RANKED, COPIES)},
        {**types, **{(COPIES, name): kind for name, kind in RANKED.items()}},
    )
    for name in ("file", *(("hash",) if settings.drop_duplicates else ())):
        if f"inspect.{name}" not in catalog.values():
            raise RequestError(f"select needs the signal group {name!r}; add it to inspect.signals")
    return Checked(rules, prefer, tiers, curriculum)


def order_of(
    settings: SelectSettings, compared: bool, tiers: Tiers | None = None
) -> tuple[str, ...]:
    """Returns the effective order of preference, as SQL.

    The default order is extended: if the copies were compared, it begins with their rank. If the
    tiers' score reads only scores of embeddings, the higher score comes before the larger file.

    Args:
        settings: The settings of `select`.
        compared: Whether the copies were compared.
        tiers: The checked tiers; None for none.
    """
    if tuple(settings.prefer) != PREFER:
        return tuple(settings.prefer)
    scored = tiers is not None and all(name.startswith(SCORES) for name in tiers.tables)
    by_score = [tiers.order] if tiers is not None and scored and tiers.tables else []
    return (*[RANK] * compared, *PREFER[:-1], *by_score, PREFER[-1])


def _order(
    prefer: Sequence[str], catalog: Mapping[str, str], types: Mapping[tuple[str, str], pa.DataType]
) -> list[Expression]:
    """Checks the order of preference.

    Raises:
        RequestError: As `check_order`; or it is the default order and a signal group that this
            reads is missing.
    """
    missing = sorted(GROUPS - {table.removeprefix("inspect.") for table in catalog.values()})
    if missing and {*PREFER} <= {*prefer}:
        raise RequestError(
            "select.prefer[0]: the default order needs signal groups that no table has: "
            f"{', '.join(missing)}; add them to inspect.signals, or set your own order, such as "
            "select.prefer=[width * height desc, bytes desc]"
        )
    return check_order(prefer, catalog, types)


def upstream_columns(corpus: Corpus) -> dict[str, pa.DataType]:
    """Returns `source.NAME` -> type, of the upstream columns of all records, sorted by name.

    They are read from the parts' footers. Damaged parts are ignored here: the task that processes
    their shard raises an error with the file's name.
    """
    parts = corpus.records.whole_parts()
    if not parts:
        return {}
    key = config_hash(parts)
    if corpus.uri not in _upstream or _upstream[corpus.uri][0] != key:
        _upstream[corpus.uri] = key, _read_upstream(corpus)
    return dict(_upstream[corpus.uri][1])


# Cache, since a command asks several times: corpus -> hash of its records' parts, their columns.
_upstream: dict[str, tuple[str, dict[str, pa.DataType]]] = {}


def _read_upstream(corpus: Corpus) -> dict[str, pa.DataType]:
    """Reads the upstream columns, from one part of each schema that occurs."""
    records = corpus.records
    try:
        urls = [corpus.store.url(name) for name in parts_of_each_schema(corpus)]
        source = f"read_parquet({parts_list(urls)}, union_by_name = true)"
        schema = corpus.connection().sql(f"SELECT * FROM {source} LIMIT 0").to_arrow_table().schema
    except (duckdb.Error, DamagedError):
        damaged_parts = corpus.damaged("records", records.config_hash)
        if not damaged_parts:
            raise
        rest = corpus.without(damaged_parts)
        return _read_upstream(rest) if rest.records.whole_parts() else {}
    names = sorted(n for n in schema.names if n.startswith("source."))
    return {name: schema.field(name).type for name in names}
