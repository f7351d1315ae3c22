"""Training sets of older and imported captions."""

import json

import pytest

from nucleus_data.errors import RequestError
from nucleus_data.line.check import check
from nucleus_data.stages.shard.captions import weights_of
from tests.support import curated
from tests.support.captioned_sets import COUNT, OLD, SETTINGS, captioned_sets
from tests.support.sharded import captions as of_edition


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return captioned_sets(tmp_path_factory.mktemp("sets"))


def pinned(corpus, *captions, **options):
    names = f"shard.captions=[{', '.join(captions)}]"
    run = curated.run(corpus.uri, "shard", *SETTINGS, names, dry_run=True, **options)
    run.pin("shard")
    return run


def written(corpus, *captions):
    """Id -> captions and where they are from, of the set."""
    run = curated.run(corpus.uri, "shard", *SETTINGS, f"shard.captions=[{', '.join(captions)}]")
    run.do("shard")
    folder = corpus.store.path(run.training_set)
    return run, of_edition(folder, run.pins.edition)


@pytest.mark.slow
def test_a_set_holds_older_and_imported_captions(made):
    corpus, _ = made
    run, found = written(corpus, "source", "alt", "short@01234567")
    assert len(found) == COUNT
    numbers = {text["web"].split()[1]: text for text in found.values()}
    assert numbers["5"] == {
        "web": "web 5",
        "imported:alt": "other 5",
        "synthesized:short": "old 5",
    }
    plan = json.loads(corpus.store.read(run.path("plan.json")))
    assert plan["tables"][f"caption.short@{OLD}"] == OLD
    assert plan["tables"]["caption.alt"] == made[1].alt["config_hash"]
    assert plan["tables"]["caption.short"] != OLD  # the recipe's own stays pinned


@pytest.mark.slow
def test_two_tables_of_a_variant_are_told_apart(made):
    corpus, run = made
    now = run.tables["caption.short"][:8]
    _, found = written(corpus, "short", "short@01234567")
    sources = {source for text in found.values() for source in text}
    assert sources == {f"synthesized:short@{now}", "synthesized:short@01234567"}
    both = [text for text in found.values() if len(text) == 2]
    assert len(both) == COUNT - 1  # one failed
    assert both[0][f"synthesized:short@{now}"].startswith("now ")


@pytest.mark.slow
def test_the_same_table_under_two_names_is_the_same_edition(made):
    corpus, run = made
    now, alt = run.tables["caption.short"], run.alt["config_hash"]
    first = pinned(corpus, "source", "short", "alt").pins
    assert pinned(corpus, "source", f"short@{now[:8]}", "alt").pins == first
    assert pinned(corpus, "source", f"short@{now}", f"alt@{alt[:9]}").pins.edition == first.edition
    old = pinned(corpus, "source", "short@01234567", "alt").pins
    assert old.edition == pinned(corpus, "source", f"short@{OLD}", f"alt@{alt}").pins.edition
    assert old.edition != first.edition
    assert old.training_set == first.training_set  # no tar is written for other captions
    with pytest.raises(RequestError, match="which are the same captions"):
        pinned(corpus, "short", f"short@{now[:10]}")


@pytest.mark.slow
def test_an_edition_of_older_captions_is_the_one_that_was_made_of_them(made):
    """What `short` was when the recipe made it is `short@HASH` now: the same edition."""
    corpus, run = made
    then = pinned(corpus, "short").pins.edition
    hashed = run.tables["caption.short"]
    recipe = (*SETTINGS, "caption.variants={short: {prompt: short, max_tokens: 50}}")
    for captions, same in (("[short]", False), (f"[short@{hashed[:8]}]", True)):
        later = curated.run(
            corpus.uri, "shard", *recipe, f"shard.captions={captions}", dry_run=True
        )
        assert later.tables["caption.short"] != hashed
        later.pin("shard")
        assert (later.pins.edition == then) == same


def test_weights_take_any_name(made):
    corpus, run = made
    now = run.tables["caption.short"]

    def weights(captions, **given):
        found = pinned(corpus, *captions)
        given = {name.replace("_at_", "@"): weight for name, weight in given.items()}
        return weights_of(found.recipe.shard, found.run, given)

    one = ("source", "short@01234567", "alt")
    assert weights(one, short_at_01234567=2, source=1, alt=3) == {"short": 2, "web": 1, "alt": 3}
    assert weights(one, short_at_0123456789=2, imported=1) == {"short": 2, "imported": 1}
    both = ("short", "short@01234567")
    assert weights(both, short=1, short_at_0123456789=2) == {
        f"short@{now[:8]}": 1,
        "short@01234567": 2,
    }
    with pytest.raises(RequestError, match=r"not in shard\.captions: source, alt"):
        weights(("source", "alt"), short_at_01234567=1)
    assert weights_of(pinned(corpus, "alt").recipe.shard, run, None) is None


def test_a_check_knows_the_captions_of_its_corpus(made):
    corpus, _ = made
    names = "shard.captions=[source, alt, short@01234567]"
    weights = "quick_train.captions={alt: 1, source: 1, short@01234567: 2}"
    recipe = curated.recipe(corpus.uri, *SETTINGS, names, weights)
    assert any("captions source, alt, short@01234567" in line for line in check(recipe))
    with pytest.raises(RequestError, match=r"names 'alts'.*imported: alt@"):
        list(check(curated.recipe(corpus.uri, *SETTINGS, "shard.captions=[alts]")))
    weights = "quick_train.captions={brief@01234567: 1}"
    with pytest.raises(RequestError, match=r"quick_train\.captions has brief@01234567"):
        list(check(curated.recipe(corpus.uri, *SETTINGS, names, weights)))
