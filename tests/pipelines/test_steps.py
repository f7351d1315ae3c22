import importlib
import pkgutil
import subprocess
import sys

import pytest

import pipelines
from nucleus_data.line.lines import LINES

NAMES = [module.name for module in pkgutil.iter_modules(pipelines.__path__)]


@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_has_the_stages_of_the_command(name):
    steps = importlib.import_module(f"pipelines.{name}").STEPS
    assert steps == LINES[name.replace("_", "-")].steps


@pytest.mark.slow
def test_a_pipeline_takes_the_options_of_a_command():
    command = [sys.executable, "-m", "pipelines.curate", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Run inspect, dedup, compare, select, embed, score, select." in said
    assert "--dry-run" in said
