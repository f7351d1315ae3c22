"""Every script finds what it imports, also those whose work no other test does."""

import importlib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
MODULES = sorted(
    ".".join(path.relative_to(SCRIPTS.parent).with_suffix("").parts)
    for path in SCRIPTS.rglob("*.py")
    if path.name != "__init__.py"
)


@pytest.mark.parametrize("name", MODULES)
def test_a_script_can_be_imported_and_says_what_it_is(name):
    assert importlib.import_module(name).__doc__
