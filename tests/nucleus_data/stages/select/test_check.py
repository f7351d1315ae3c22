import pyarrow as pa
import pytest

from nucleus_data.line.recipe import load_recipe
from nucleus_data.stages.select.check import check_decisions
from tests.support.recipes import CONFIGS


@pytest.mark.parametrize("config", CONFIGS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_the_shipped_rules_fit_their_columns(config):
    recipe = load_recipe(config)
    check_decisions(recipe.select, recipe.pins(), {"source.caption": pa.string()})
