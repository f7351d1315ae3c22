"""Checks what a configuration says about deciding, before any record is read."""

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

SCORES = "embed."  # tables of scores of vectors


class Checked(NamedTuple):
    """What a configuration says about deciding, parsed; without tiers or curriculum None there."""

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
        settings: What is kept.
        pins: Which signals there are.
        upstream: `source.NAME` -> type, of the corpus's upstream columns; None where there is no
            corpus, so that rules on them are parsed and no more.
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
    # Rules can't read ranks: a record without a copy has none, and would wait for one.
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
    """The order as it is run.

    The default one begins with the rank, where copies have one; and before it asks for the larger
    file, for the higher score, where the tiers' score is one of the stage `score`.
    """
    if tuple(settings.prefer) != PREFER:
        return tuple(settings.prefer)
    scored = tiers is not None and all(name.startswith(SCORES) for name in tiers.tables)
    by_score = [tiers.order] if tiers is not None and scored and tiers.tables else []
    return (*[RANK] * compared, *PREFER[:-1], *by_score, PREFER[-1])


def _order(
    prefer: Sequence[str], catalog: Mapping[str, str], types: Mapping[tuple[str, str], pa.DataType]
) -> list[Expression]:
    """The order of preference; of the default one that can't be used, says which groups it reads.

    Raises:
        RequestError: As of `check_order`.
    """
    missing = sorted(GROUPS - {table.removeprefix("inspect.") for table in catalog.values()})
    if missing and {*PREFER} <= {*prefer}:
        raise RequestError(
            f"select.prefer[0]: the default order reads signals which no table has: those of "
            f"{', '.join(missing)}; add them to inspect.signals, or give an order of your own, as "
            "select.prefer=[width * height desc, bytes desc]"
        )
    return check_order(prefer, catalog, types)


def upstream_columns(corpus: Corpus) -> dict[str, pa.DataType]:
    """Name (`source.NAME`) -> type of the upstream columns of all records, sorted.

    They are read from the parts' footers. A damaged part is left out here: whoever works on its
    shard fails with its name.
    """
    parts = corpus.records.whole_parts()
    if not parts:
        return {}
    key = config_hash(parts)
    if corpus.uri not in _upstream or _upstream[corpus.uri][0] != key:
        _upstream[corpus.uri] = key, _read_upstream(corpus)
    return dict(_upstream[corpus.uri][1])


# Corpus -> a hash of its records' parts, and their columns: a command asks several times.
_upstream: dict[str, tuple[str, dict[str, pa.DataType]]] = {}


def _read_upstream(corpus: Corpus) -> dict[str, pa.DataType]:
    """The upstream columns, from one part of each schema that there is."""
    records = corpus.records
    try:
        urls = [corpus.store.url(name) for name in parts_of_each_schema(corpus)]
        source = f"read_parquet({parts_list(urls)}, union_by_name = true)"
        schema = corpus.connection().sql(f"SELECT * FROM {source} LIMIT 0").to_arrow_table().schema
    except (duckdb.Error, DamagedError):
        found = corpus.damaged("records", records.config_hash)
        if not found:
            raise
        rest = corpus.without(found)
        return _read_upstream(rest) if rest.records.whole_parts() else {}
    names = sorted(n for n in schema.names if n.startswith("source."))
    return {name: schema.field(name).type for name in names}
