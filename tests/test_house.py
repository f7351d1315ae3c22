"""The floor plan of `pyproject.toml`: which room may import which, and what importing costs."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.quick import quick

ROOT = Path(__file__).resolve().parents[1]
MOST_LOOSE_MODULES = 6
HEAVY = ("ray", "torch", "numba")


def test_every_import_keeps_the_contract():
    lint = Path(sys.executable).with_name("lint-imports")
    found = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


CLI = "from nucleus_data.commands import cli; cli([{}'--help'], standalone_mode=False)"
LIGHT = [
    CLI.format(""),
    "import nucleus_data",
    "import nucleus_data.commands",
    "import nucleus_data.stages.caption.checks",
    CLI.format("'inspect', "),
]


@pytest.mark.parametrize("package", ["nucleus_data", "nucleus_model"])
def test_few_modules_lie_loose(package):
    loose = sorted(file.name for file in (ROOT / package).glob("*.py"))
    assert len(loose) <= MOST_LOOSE_MODULES, loose


@pytest.mark.parametrize("command", quick(LIGHT, fast=1))
def test_nothing_heavy_is_imported(command):
    script = f"import sys; {command}; print('loaded', [m for m in {HEAVY} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.endswith("loaded []\n"), found.stdout + found.stderr


@pytest.mark.slow
def test_the_fetcher_holds_no_database():
    # It runs beside many others on a node: DuckDB and Arrow would be half of its memory.
    script = (
        "import sys, nucleus_data.stages.ingest.http.fetcher, nucleus_data.stages.ingest.shard_tar;"
        "print('loaded', [m for m in ('duckdb', 'pyarrow', 'fsspec') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout == "loaded []\n", found.stdout + found.stderr
