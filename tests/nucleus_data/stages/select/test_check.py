import pyarrow as pa
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.errors import RequestError
from nucleus_data.line.recipe import load_recipe
from nucleus_data.stages.compare.preference import GROUPS
from nucleus_data.stages.select.check import check_decisions, upstream_columns
from nucleus_data.world.corpora import small_corpus
from tests.support.recipes import CONFIGS, load


@pytest.mark.parametrize("config", CONFIGS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_the_shipped_rules_fit_their_columns(config):
    recipe = load_recipe(config)
    check_decisions(recipe.select, recipe.pins(), {"source.caption": pa.string()})


def test_rules_on_upstream_columns_are_only_parsed_where_there_is_no_corpus(tmp_path):
    recipe = load(tmp_path, "", "select.rules.long=length(source.caption) > 'x'")
    rules, prefer, tiers, _ = check_decisions(recipe.select, recipe.pins())
    assert [rule.name for rule in rules] == ["long"]
    assert prefer
    assert tiers is None
    with pytest.raises(RequestError, match="does not fit the types of its columns"):
        check_decisions(recipe.select, recipe.pins(), {"source.caption": pa.string()})
    with pytest.raises(RequestError, match="which is not in any table"):
        check_decisions(recipe.select, recipe.pins(), {})


def test_the_groups_that_deciding_reads_must_be_measured(tmp_path):
    fewer = ("inspect.signals=[file, tone]", "select.prefer=[]")
    recipe = load(tmp_path, "", *fewer)
    with pytest.raises(RequestError, match="select needs the signal group 'hash'"):
        check_decisions(recipe.select, recipe.pins(), {})
    recipe = load(tmp_path, "", *fewer, "select.drop_duplicates=false")
    assert check_decisions(recipe.select, recipe.pins(), {}) == ([], [], None, None)


def test_the_default_order_says_which_groups_it_needs(tmp_path):
    fewer = "inspect.signals=[file, hash, tone, detail, colour, sharpness, compression]"
    recipe = load(tmp_path, "", fewer)
    with pytest.raises(RequestError, match=r"no table has: layout, resampling; add them"):
        check_decisions(recipe.select, recipe.pins(), {})


def test_the_default_order_reads_what_it_says(tmp_path):
    recipe = load(tmp_path, "")
    _, prefer, _, _ = check_decisions(recipe.select, recipe.pins(), {})
    assert {c.table for order in prefer for c in order.columns} == {f"inspect.{g}" for g in GROUPS}


def test_the_upstream_columns_are_those_of_all_records(tmp_path):
    assert upstream_columns(Corpus(str(tmp_path / "empty"), create=True)) == {}
    corpus = small_corpus(tmp_path / "c", shards=1)
    assert upstream_columns(corpus) == {"source.caption": pa.string()}
