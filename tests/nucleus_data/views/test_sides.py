"""The sides of a comparison by all the names that people have for them."""

import pytest

from nucleus_data.errors import RequestError
from nucleus_data.line.recipe import load_recipe
from nucleus_data.runner.cluster import RaySettings
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.runner.workers import Workers
from nucleus_data.views.copied import clusters_of, joined
from nucleus_data.views.sides import Side, Sides, check_differ, same
from nucleus_data.world.corpora import small_corpus
from tests.support import compared
from tests.support.curated import NANO
from tests.support.model import colored_items, write_set

WIDE = "select.rules.wide=width > 150"


def sides_of(corpus, *overrides, settings=compared.SETTINGS, said=None):
    place = [f"corpus={corpus}"] if corpus else []
    overrides = [*place, *settings, *overrides]
    recipe = load_recipe(NANO, overrides)
    say = (lambda _: None) if said is None else said.append
    workers = Workers(RaySettings())
    return Sides("test", NANO, recipe, overrides, workers, loop=InlineLoop, say=say)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The corpus; the side of its set, and that of a set without its wide pictures."""
    corpus, _ = compared.make(tmp_path_factory.mktemp("compared"))
    sides = sides_of(corpus.uri)
    return corpus, sides.trained(), sides.varied([WIDE])


def hash_of(side):
    return side.folder.path.rpartition("/")[2]


def test_clusters_of_two_tables_are_joined():
    alone = {"a": "a", "b": "a", "c": "c"}
    assert joined([alone]) == alone
    one = {"a": "a", "b": "a", "c": "c", "d": "d"}
    other = {"a": "a", "b": "b", "c": "b", "d": "d"}
    assert joined([one, other]) == {"a": "a", "b": "a", "c": "a", "d": "d"}


def test_a_set_outside_of_a_corpus_needs_none(tmp_path):
    write_set(tmp_path / "set", colored_items(4))
    side = sides_of("").named(str(tmp_path / "set"))
    assert (side.corpus, side.arm.folder) == ("", str(tmp_path / "set"))
    clusters, notes = clusters_of([side, side])
    assert clusters == {}
    assert len(notes) == 1
    assert "is not in a corpus, so each of its pictures counts as its own cluster" in notes[0]


def test_what_is_nothing_is_told(tmp_path):
    for text, told in (
        ("none", r"is not a training set .* give its folder .* a recipe's file \(.yaml\)"),
        ("none.yaml", "there is no configuration file none.yaml"),
        ("@short", "names captions of the other side's set, which only B can do"),
    ):
        with pytest.raises(RequestError, match=told):
            sides_of("").named(text)
    write_set(tmp_path / "set", colored_items(4))
    with pytest.raises(RequestError, match="has no caption edition 'other'; available: "):
        sides_of("").named(f"{tmp_path / 'set'}@other")
    corpus = small_corpus(tmp_path / "c", shards=0)
    with pytest.raises(RequestError) as raised:
        sides_of(corpus.uri).named("other")
    for text in ("no training set 'other' (sets: none)", "Selections: none", ".yaml"):
        assert text in str(raised.value)


@pytest.mark.slow
def test_a_set_has_many_names(made):
    corpus, a, _ = made
    sides, digits = sides_of(corpus.uri), hash_of(a)
    for name in (digits[:6], f"nano/{digits}", f"sets/nano/{digits}", a.arm.folder):
        side = sides.named(name)
        assert same(side, a), name
        assert side.pairs == a.pairs is not None
    named = sides.named(f"{digits[:6]}@{a.edition[:5]}")
    assert same(named, a)
    assert same(sides.named(f"@{a.edition[:5]}", named), a)
    with pytest.raises(
        RequestError, match=r"'nano' matches several training sets: nano/.*; give NAME"
    ):
        sides.named("nano")


@pytest.mark.slow
def test_a_selection_and_a_recipe_are_made_into_sets_unless_these_are_there(made, tmp_path):
    corpus, a, b = made
    said = []
    sides = sides_of(corpus.uri, said=said)
    selections = {sides._selection(name)[0] for name in corpus.config_hashes("selection")}
    found = {hash_of(sides.named(name[:9])) for name in selections}
    assert found == {hash_of(a), hash_of(b)}
    assert all("decided" not in line for line in said)  # no rule was asked
    recipe = compared.write_recipe(
        tmp_path / "wide.yaml", select={"rules": {"wide": "width > 150"}}
    )
    # The file counts, and what the command says beside it.
    sides = sides_of(corpus.uri, settings=())
    assert same(sides.named(str(recipe)), b)
    assert sides.forecast(str(recipe)).endswith("made by select, shard unless it exists")
    assert sides.forecast(f"nano/{hash_of(a)}").endswith(hash_of(a))
    assert "made by shard unless it exists" in sides.forecast(next(iter(selections)))
    other = compared.write_recipe(tmp_path / "other.yaml")
    other.write_text(f"{other.read_text()}corpus: elsewhere\n")
    both = Sides("test", NANO, sides.recipe, [], sides.workers, loop=InlineLoop)
    with pytest.raises(RequestError, match=r"its corpus is elsewhere, but the other's is .*; reci"):
        both.named(str(other))


@pytest.mark.slow
def test_what_is_alike_is_not_compared(made):
    corpus, a, b = made
    sides = sides_of(corpus.uri)
    check_differ(a, b)
    with pytest.raises(RequestError, match="nothing to compare: "):
        check_differ(a, sides.named(hash_of(a)))
    # A rule that rejects nothing makes another set of the same pictures.
    nothing = sides.varied(["select.rules.none=width > 9000"])
    assert nothing.folder.path != a.folder.path
    assert same(a, nothing)
    elsewhere = Side(nothing.arm, nothing.folder)  # other captions may have its edition's hash
    assert not same(a, elsewhere)


@pytest.mark.slow
def test_copies_are_one_cluster(made):
    corpus, a, b = made
    every = sides_of(corpus.uri).varied(["select.drop_duplicates=false"])
    assert every.pairs == a.pairs  # its own selection walked none
    clusters, notes = clusters_of([a, every])
    assert notes == []
    assert len(clusters) == compared.PICTURES + compared.COPIES
    assert len(set(clusters.values())) == compared.PICTURES
    table = corpus.table("dedup").project("id, other_id").fetchall()
    assert all(clusters[one] == clusters[other] for one, other in table)
    outside = Side(b.arm, b.folder)
    clusters, notes = clusters_of([a, outside])
    assert (len(clusters), len(notes)) == (compared.PICTURES, 1)
