"""Checks the conditions (`where`) that decide for which records a table of a stage is made."""

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from nucleus_data.errors import RequestError
from nucleus_data.runner.pins import Pins
from nucleus_data.stage import RowStage
from nucleus_data.stages.select.condition import RecordCondition, check_condition


def conditions_of(
    stage: RowStage[Any], pins: Pins, upstream: Callable[[], Mapping[str, pa.DataType]] | None
) -> dict[str, RecordCondition]:
    """Returns table -> checked condition, for the tables of a stage that have one.

    Args:
        stage: The stage.
        pins: The signals that conditions may read.
        upstream: Reads the corpus's upstream columns, `source.NAME` -> type; None if there is no
            corpus.

    Raises:
        RequestError: A condition does not parse, reads an unknown signal, or depends on its own
            table.
    """
    specs = [spec for spec in stage.tables() if spec.chosen.where]
    if not specs:
        return {}
    columns = upstream() if upstream is not None else None
    found = {}
    for spec in specs:
        found[spec.name] = condition(spec.chosen.where, spec.chosen.key, pins, columns)
        _check_circle(spec.name, found[spec.name], pins)
    return found


def condition(
    text: str, key: str, pins: Pins, upstream: Mapping[str, pa.DataType] | None
) -> RecordCondition:
    """Checks a condition from the configuration or an option.

    Args:
        text: The SQL condition.
        key: The setting or option, for messages.
        pins: The signals that it may read.
        upstream: The corpus's upstream columns, `source.NAME` -> type; None if unknown.

    Raises:
        RequestError: It does not parse, or reads an unknown signal.
    """
    return check_condition(text, key, pins.catalog(), pins.signals(), upstream)


def _check_circle(name: str, asked: RecordCondition, pins: Pins) -> None:
    """Refuses a condition that depends on its own table, as every record would wait forever."""
    todo = [column.partition(":")[0] for column in asked.columns]
    seen = set(todo)
    while todo:
        spec = pins.specs.get(todo.pop())
        before = () if spec is None else (*spec.inputs, *spec.needs, spec.chosen.follows)
        if name in before:
            raise RequestError(
                f"{asked.key}: {asked.expression.text!r} reads what is made from {name}, so it "
                "would wait for itself. To generate bad captions again, use: nucleus retry caption "
                "--where CONDITION --variant NAME"
            )
        todo += [one for one in before if one and one not in seen]
        seen.update(before)
