"""What `--vary` takes, and which stages make a varied set."""

import pytest

from nucleus_data.corpus.tables import Table
from nucleus_data.errors import RequestError
from nucleus_data.line.sets import check_varied, make_of_selection, make_set, steps_of, values_of
from nucleus_data.runner.cluster import RaySettings
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.runner.workers import Workers
from nucleus_data.world.corpora import small_corpus
from tests.support import compared, curated


def test_a_key_that_is_given_again_is_swept_and_others_change_together():
    assert values_of(["rules.a=width < 3", "dedup.distance=2"]) == [
        ("select.rules.a=width < 3", "dedup.distance=2")
    ]
    assert values_of(["dedup.distance=1", "rules.a=x", "dedup.distance=2", "rules.a=x"]) == [
        ("select.rules.a=x", "dedup.distance=1"),
        ("select.rules.a=x", "dedup.distance=2"),
    ]


def test_a_list_is_one_value():
    assert values_of(["shard.captions=[short,long]"]) == [("shard.captions=[short,long]",)]


@pytest.mark.parametrize(
    ("varied", "told"),
    [
        (
            ["dedup.distance=1", "dedup.distance=2", "rules.a=1", "rules.a=2"],
            "only one key can be swept",
        ),
        (["rules.a"], "is not an override; write key.sub=value"),
        (["quick_train.steps=3"], "--preset decides how both sides train"),
        (["ingest.source=x"], "changes what is in the corpus, for both sides"),
        (["encode.enabled=true"], "changes neither a selection, nor captions, nor a set"),
        (["corpus=x"], "'corpus' is not a section of the recipe that affects a set"),
        (["resources.shard.num_cpus=2"], "allowed: keys of inspect, dedup, compare, select"),
    ],
)
def test_a_wrong_variation_is_told(varied, told):
    with pytest.raises(RequestError, match=told):
        values_of(varied)


def test_every_section_of_the_line_to_a_set_may_be_varied():
    for section in ("inspect", "dedup", "select", "caption", "shard"):
        check_varied(f"{section}.x")


@pytest.fixture
def empty(tmp_path):
    return small_corpus(tmp_path / "c", shards=0)


def steps(corpus, key, *overrides):
    recipe = curated.recipe(corpus.uri, *overrides)
    return steps_of(recipe, [key], corpus)


def test_what_a_key_changes_is_made_and_nothing_before_it(empty):
    assert steps(empty, "select.rules.a") == ("select", "shard")
    assert steps(empty, "shard.multiple") == ("shard",)
    assert steps(empty, "shard.captions") == ("shard",)
    assert steps(empty, "dedup.distance") == ("dedup", "select", "shard")
    assert steps(empty, "dedup.distance", "select.drop_duplicates=false")[:2] == ("dedup", "select")
    assert steps(empty, "inspect.signals", "select.drop_duplicates=false") == (
        *("inspect", "select", "shard"),
    )
    assert steps(empty, "caption.variants") == ("caption", "shard")


def test_records_that_come_anew_are_treated_as_the_others_were(empty):
    recipe = curated.recipe(empty.uri)
    stages = recipe.stages()
    for name in ("embed", "score", "caption"):
        for spec in stages[name].tables():
            empty.store.put(f"tables/{spec.name}/1/x", b"")
    assert steps(empty, "select.rules.a") == (
        *("select", "embed", "score", "select", "caption", "shard"),
    )
    assert steps(empty, "select.rules.a", "shard.captions=[source]") == (
        *("select", "embed", "score", "select", "shard"),
    )
    assert steps(empty, "shard.multiple") == ("shard",)


@pytest.mark.slow
def test_a_varied_set_is_made_once_and_nothing_else_is_computed(tmp_path):
    corpus, copies = compared.make(tmp_path)
    before = {name: corpus.config_hashes(name) for name in ("inspect.file", "dedup")}
    said = []

    def made(*changes):
        said.clear()
        recipe = curated.recipe(corpus.uri, *compared.SETTINGS, *changes)
        workers = Workers(RaySettings())
        return make_set(recipe, "test", workers, loop=InlineLoop, say=said.append)

    as_it_is = made()
    assert any("the tars already exist" in line for line in said)
    varied = made("select.rules.wide=width > 150")
    assert as_it_is.kept == compared.PICTURES
    assert varied.kept == compared.PICTURES / 2 + len(copies) / 2
    again = made("select.rules.wide=width > 150")
    assert again.folder.path == varied.folder.path != as_it_is.folder.path
    assert sum("already decided" in line or "already exist" in line for line in said) == 3
    assert {name: corpus.config_hashes(name) for name in before} == before
    # The selection as it was, whatever the rules say now.
    found = make_of_selection(
        curated.recipe(corpus.uri, *compared.SETTINGS),
        varied.tables["selection"],
        {},
        "test",
        Workers(RaySettings()),
        loop=InlineLoop,
        say=said.append,
    )
    assert (found.folder.path, found.kept) == (varied.folder.path, varied.kept)
    assert Table(corpus.store, "selection", varied.tables["selection"]).shards() == [0]
