"""Computes the hashes that name caption editions and index columns, from their tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from nucleus_data.corpus.caption_sets import AT, SOURCE, CaptionSet, labels
from nucleus_data.hashing import config_hash
from nucleus_data.runner.run import Run
from nucleus_data.stage import Condition
from nucleus_data.stages.select.check import upstream_columns
from nucleus_data.stages.select.condition import check_condition
from nucleus_data.stages.shard.chosen import SELECTION
from nucleus_data.stages.shard.columns import scores_of

EDITION_VERSION, COLUMNS_VERSION = 1, 1


def preserved(run: Run, sets: Sequence[CaptionSet], text: str | None) -> Condition | None:
    """Checks `caption.preserve`; returns None if there is none, or `source` is not used.

    Args:
        run: The run.
        sets: The caption sets of the edition.
        text: The condition, as written in the recipe.

    Raises:
        RequestError: It is not a condition on one record, or reads columns that don't exist.
    """
    if text is None or all(one.variant != SOURCE for one in sets):
        return None
    pins, upstream = run.pins, upstream_columns(run.corpus)
    return check_condition(text, "caption.preserve", pins.catalog(), pins.signals(), upstream)


def edition_hash(run: Run, sets: Sequence[CaptionSet], text: str | None) -> str:
    """Returns the hash of an edition, for the current content of its tables.

    Args:
        run: The run.
        sets: The caption sets, from lowest to highest quality.
        text: `caption.preserve`.
    """
    made = (one for one in sets if one.config_hash)
    tables = {f"{one.table}{AT}{one.config_hash}": one.config_hash for one in made}
    content: dict[str, Any] = {"version": EDITION_VERSION, "captions": labels(sets)}
    preserve = preserved(run, sets, text)
    if preserve is not None:
        read = {path.partition(":")[0] for path in preserve.columns} - {"records"}
        tables |= {name: run.tables[name] for name in read}
        content["preserve"] = text
    return config_hash({**content, **_identity(run, tables)})


def columns_hash(run: Run, tables: Mapping[str, str]) -> str:
    """Returns the hash of a set's index columns, for the current content of the score tables.

    Args:
        run: The run.
        tables: Config hash of every table, including the selection's.
    """
    names = {SELECTION, *scores_of(run.corpus, run.pins, tables)}
    read = {name: tables[name] for name in names}
    return config_hash({"version": COLUMNS_VERSION, **_identity(run, read)})


def _identity(run: Run, tables: Mapping[str, str]) -> dict[str, Any]:
    """Returns the hashed content: the tables, and the parts that they currently have."""
    return {"tables": dict(tables), "parts": run.corpus.parts_hash(tables)}
