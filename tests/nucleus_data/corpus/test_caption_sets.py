"""Names of caption sets, and the tables that they mean."""

import pytest

from nucleus_data.corpus.caption_sets import (
    IMPORT,
    CaptionSet,
    check_names,
    find_set,
    find_sets,
    labels,
)
from nucleus_data.corpus.damaged import PUBLISHED
from nucleus_data.corpus.tables import Table
from nucleus_data.errors import RequestError
from nucleus_data.world.corpora import small_corpus

NOW, OLD, LATER = "aaaaaaaaaaaaaaaa", "0123456789abcdef", "0123456700000000"
CURRENT = {"short": NOW}


@pytest.fixture
def store(tmp_path):
    """Two older tables of `short`, one of a variant that was renamed, two imports, one begun."""
    made = small_corpus(tmp_path / "c", shards=0).store
    for name in (f"short/{OLD}", f"short/{LATER}", f"brief/{OLD}"):
        made.create(f"tables/caption.{name}/000000-0.parquet", b"")
    for name in (f"alt/{OLD}", f"twice/{OLD}", f"twice/{LATER}", f"begun/{OLD}"):
        made.create(f"tables/caption.{name}/{IMPORT}", b"{}")
        if not name.startswith("begun"):
            made.create(f"tables/caption.{name}/{PUBLISHED}", b"{}")
    return made


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("source", CaptionSet("source")),
        ("short", CaptionSet("short", NOW)),
        ("short@aaaaaaaa", CaptionSet("short", NOW)),
        ("short@012345678", CaptionSet("short", OLD, plain=False)),
        (f"short@{LATER}", CaptionSet("short", LATER, plain=False)),
        ("brief@01234567", CaptionSet("brief", OLD, plain=False)),
        ("alt", CaptionSet("alt", OLD)),
        ("alt@01234567", CaptionSet("alt", OLD, plain=False)),
        ("twice@0123456700", CaptionSet("twice", LATER, plain=False)),
    ],
)
def test_a_name_means_one_table(store, name, found):
    assert find_set(store, name, CURRENT, "shard.captions") == found


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "shorty",
            "neither a caption variant of the recipe nor an import; allowed: source, short; imp",
        ),
        ("", "'', which is neither a caption variant of the recipe nor an import"),
        ("brief", r"nor an import; .* made: brief@01234567, short@01234567"),
        ("short@0123456", "VARIANT@HASH, with 8 to 16 hex digits"),
        ("short@0123456G", "VARIANT@HASH, with 8 to 16 hex digits"),
        ("@01234567", "VARIANT@HASH"),
        ("../x@01234567", "VARIANT@HASH"),
        ("short@01234567", f"matches short@{LATER}, short@{OLD}; give more digits"),
        ("short@ffffffff", "no such caption table; imported: alt@01234567"),
        ("twice", "several imports; choose one: twice@01234567, twice@01234567"),
        ("begun", "the import begun@01234567 is not finished: run the same"),
        ("begun@01234567", "is not finished"),
    ],
)
def test_a_name_of_none_or_several_is_refused_with_what_there_is(store, name, said):
    with pytest.raises(RequestError, match=f"shard.captions names .*{said}"):
        find_set(store, name, CURRENT, "shard.captions")


def test_a_variant_with_an_import_s_name_is_told(store):
    with pytest.raises(RequestError, match="a variant of the recipe and an import"):
        find_set(store, "alt", {"alt": NOW}, "shard.captions")
    assert find_set(store, "alt@01234567", {"alt": NOW}, "x").config_hash == OLD


def test_the_same_captions_twice_are_refused(store):
    with pytest.raises(RequestError, match="'short' and 'short@aaaaaaaa', which are the same"):
        find_sets(store, ["source", "short", "short@aaaaaaaa"], CURRENT, "shard.captions")


def test_labels_follow_from_the_tables_alone():
    old, later = (CaptionSet("short", hashed, plain=False) for hashed in (OLD, LATER))
    now = CaptionSet("short", NOW)
    assert labels([CaptionSet("source"), old]) == ["source", "short"]
    assert labels([now]) == ["short"]
    assert labels([now, old]) == ["short@aaaaaaaa", "short@01234567"]
    assert labels([later, old]) == [f"short@{LATER}", f"short@{OLD}"]


def test_without_a_corpus_only_what_the_recipe_says_is_known():
    check_names(["source", "short", "short@01234567"], ["short"], "shard.captions")
    for name, said in (("verbose", "give corpus=PATH"), ("short@1", "VARIANT@HASH")):
        with pytest.raises(RequestError, match=said):
            check_names([name], ["short"], "shard.captions")


def test_a_pin_with_a_hash_names_the_table(store):
    table = Table(store, f"caption.short@{OLD}", OLD)
    assert (table.name, table.folder) == ("caption.short", f"tables/caption.short/{OLD}")
