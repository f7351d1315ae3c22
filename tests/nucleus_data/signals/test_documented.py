"""Each built-in signal is told in its module's docstring, with its range or a dash."""

import importlib
import pkgutil
import re

import pytest

from nucleus_data import signals
from nucleus_data.signals import SignalGroup

MODULES = [
    module
    for info in pkgutil.iter_modules(signals.__path__)
    if isinstance(
        getattr(module := importlib.import_module(f"nucleus_data.signals.{info.name}"), "group", 0),
        SignalGroup,
    )
]


def test_all_groups_are_looked_at():
    assert {module.group.name for module in MODULES} >= {
        *("file", "tone", "detail", "hash", "colour", "sharpness", "compression", "layout"),
        "resampling",
        "canonical",
    }


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.group.name)
def test_every_column_is_told(module):
    table = re.findall(r"^\| (.+?) \|", module.__doc__, re.MULTILINE)
    prose = re.findall(r"`(\w+)` \(", module.__doc__)
    told = [name for cell in [*table, *prose] for name in cell.split(", ")]
    whole = {name for name in told if not name.startswith("_")}
    suffixes = tuple(name for name in told if name.startswith("_"))
    untold = {c for c in module.group.schema.names if c not in whole and not c.endswith(suffixes)}
    assert not untold


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.group.name)
def test_every_column_has_a_range_or_a_dash(module):
    if module.group.name == "canonical":  # which has those of `hash` and `file`
        return
    cells = re.findall(r"^\| [a-z_].*? \| (.*?) \|", module.__doc__, re.MULTILINE)[1:]
    prose = re.findall(r"`\w+` \((.*?)\)", module.__doc__, re.DOTALL)
    assert cells or len(prose) >= len(module.group.schema)
    assert all(re.search(r"\d", told) or told == "-" for told in cells or prose)
