"""What a comparison does is fixed before its first run, by ids alone."""

import json
from dataclasses import replace

import pytest

from nucleus_data.errors import RequestError
from nucleus_model.data.draws import as_hex
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.facts import Copies
from nucleus_model.training.verdict.plan import Arm, plan_comparison
from nucleus_model.training.verdict.run import read_plan, write_plan
from tests.support.model import Item, colored_items, write_set

ALL_AND_OTHER = colored_items(60), colored_items(40, first=100)
SETTINGS = VerdictSettings(preset="debug", pictures=10, holdout_share=0.2)


def with_captions(items, caption):
    return [Item(i.number, i.bucket, [caption(i)], *list(vars_of(i))[3:]) for i in items]


def vars_of(item):
    return (getattr(item, name) for name in item.__dataclass_fields__)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """`all` has 60 pictures, `part` 45 of them, `other` 40 others, `said` all with new captions."""
    root = tmp_path_factory.mktemp("sets")
    items = colored_items(60)
    made = {
        "all": items,
        "part": items[:45],
        "other": colored_items(40, first=100),
        "said": with_captions(items, lambda item: f"number {item.number}"),
    }
    return {name: str(write_set(root / name, of)) for name, of in made.items()}


def planned(sets, a, b, reference=None, settings=SETTINGS, clusters=None):
    yardstick = None if reference is None else Arm(sets[reference])
    return plan_comparison(Arm(sets[a]), Arm(sets[b]), settings, yardstick, clusters)


def column(found, name, where=lambda row: True):
    return [row[name] for row in found.pictures.to_pylist() if where(row)]


def test_nothing_that_is_measured_as_reference_is_trained_on(sets):
    found = planned(sets, "all", "part")
    reference = column(found, "id", lambda row: row["reference"])
    assert 2 <= len(reference) <= 10
    assert not any(column(found, "a", lambda row: row["reference"]))
    assert {i.decode() for i in as_hex(found.order(0).ids)}.isdisjoint(reference)
    assert len(column(found, "id", lambda row: row["a"])) < 60


def test_a_filtered_set_shares_what_tells_of_memorising(sets):
    found = planned(sets, "all", "part")
    assert not found.memory.crossed
    assert len(found.memory.seen) == 10
    assert 2 <= len(found.memory.unseen) <= 10
    assert all(column(found, "b", lambda row: row["memory"] == "seen"))
    assert not any(column(found, "b", lambda row: row["memory"] == "unseen"))


def test_disjoint_sets_are_told_by_pictures_of_their_own(sets):
    found = planned(sets, "all", "other", settings=SETTINGS.model_copy(update={"pictures": 40}))
    assert found.memory.crossed
    seen = [column(found, arm, lambda row: row["memory"] == "seen") for arm in ("a", "b")]
    assert sum(seen[0]) == sum(seen[1]) >= 30
    assert seen[0] == [not of_b for of_b in seen[1]]
    unseen = set(column(found, "id", lambda row: row["memory"] == "unseen"))
    mine, others = ({item.id for item in items} for items in ALL_AND_OTHER)
    assert len(unseen & mine) == len(unseen & others) == len(unseen) / 2 >= 1


@pytest.mark.slow
def test_a_reference_is_the_yardstick_and_nobody_trains_on_it(sets):
    found = planned(sets, "all", "said", reference="part")
    assert set(column(found, "read_from", lambda row: row["reference"])) == {"reference"}
    # What is memorised is told by unseen pictures of A and B, and not by those of the reference.
    assert found.notes == ()
    unseen = column(found, "id", lambda row: row["memory"] == "unseen")
    assert len(unseen) >= 2
    assert not any(column(found, "reference", lambda row: row["memory"] is not None))
    assert len(column(found, "id", lambda row: row["a"])) == 15 - len(unseen)


@pytest.mark.slow
def test_what_is_trained_on_under_another_id_is_measured_by_nobody(sets, tmp_path):
    items = colored_items(60)
    # Each of the last 20 is one of the first 20 once more.
    copies = items[:40] + [replace(item, image=items[n].image) for n, item in enumerate(items[40:])]
    copied = {**sets, "copied": str(write_set(tmp_path / "copied", copies))}
    found = planned(copied, "copied", "copied")
    trained = set(column(found, "id", lambda row: row["a"]))
    ids = [item.id for item in items]
    twin = {ids[n]: ids[(n + 40) % 80] for n in (*range(20), *range(40, 60))}
    measured = column(found, "id", lambda row: row["reference"] or row["memory"] == "unseen")
    assert len(measured) >= 2
    assert not trained & {twin.get(ident) for ident in measured}
    assert any("show what an arm trains on under another id" in note for note in found.notes)
    assert found.copies == dict.fromkeys("ab", Copies(20, 60)), "held-out ones, too"
    assert len(measured) < len(
        column(planned(sets, "all", "all"), "id", lambda row: not (row["a"] or row["b"]))
    )


@pytest.mark.slow
def test_captions_that_differ_are_one_or_the_other_s_and_it_is_said(sets):
    found = planned(sets, "all", "said")
    captions = column(found, "caption", lambda row: row["caption"] is not None)
    numbered = sum(text.startswith("number") for text in captions)
    assert 0 < numbered < len(captions)
    assert found.notes == planned(sets, "all", "said").notes
    assert "have different captions in A and B" in found.notes[0]
    sources = column(found, "read_from", lambda row: row["caption"] is not None)
    assert {("b" if c.startswith("number") else "a") for c in captions} == set(sources)


def test_pictures_of_one_set_alone_are_told(sets):
    (note,) = planned(sets, "all", "part").notes
    assert "are only in A and 0 only in B" in note


@pytest.mark.slow
def test_a_claim_about_recipes_draws_whole_clusters_another_time_each(sets):
    settings = SETTINGS.model_copy(update={"claim": "recipes", "share": 0.5})
    ids = column(planned(sets, "all", "part"), "id")
    clusters = {ident: f"cluster {n // 6}" for n, ident in enumerate(ids)}
    found = planned(sets, "all", "part", settings=settings, clusters=clusters)
    drawn = [{i.decode() for i in as_hex(found.order(n).ids)} for n in range(4)]
    assert len({frozenset(ids) for ids in drawn}) == 4
    trained = set(column(found, "id", lambda row: row["a"] or row["b"]))
    for ids in drawn:
        taken = {clusters[ident] for ident in ids}
        assert ids == {ident for ident in trained if clusters[ident] in taken}


@pytest.mark.slow
def test_what_is_wrong_is_told(sets, tmp_path):
    large = SETTINGS.model_copy(update={"resolution": 512})
    with pytest.raises(ValueError, match="has no resolution 512"):
        planned(sets, "all", "part", settings=large)
    left = "no picture is left to train on, as all 60 with a caption are in the reference or held"
    with pytest.raises(RequestError, match=left):
        planned(sets, "all", "part", reference="all")
    other = write_set(tmp_path / "small", colored_items(20, (32, 32)), resolution=32)
    with pytest.raises(RequestError, match="resolutions of the sets differ"):
        planned({**sets, "small": str(other)}, "all", "small")


@pytest.mark.slow
def test_sets_with_next_to_nothing_are_told(sets, tmp_path):
    items = colored_items(60)
    bare = [replace(item, captions=[]) for item in items]
    made = {"empty": [], "bare": bare, "one": items[:1]}
    odd = {name: str(write_set(tmp_path / name, of)) for name, of in made.items()}
    with pytest.raises(RequestError, match="empty has no pictures, so there is nothing to compare"):
        planned({**sets, **odd}, "all", "empty")
    with pytest.raises(RequestError, match="bare has 60 pictures, but none of them has a caption"):
        planned({**sets, **odd}, "all", "bare")
    few = "only [01] pictures are left to measure, but at least 2 are needed; give a larger r"
    with pytest.raises(RequestError, match=few):
        planned({**sets, **odd}, "all", "part", reference="one")


def test_a_plan_is_read_back_and_has_no_secret(sets, tmp_path):
    made = plan_comparison(
        Arm(sets["all"], storage_options={"auto_mkdir": True}), Arm(sets["part"]), SETTINGS
    )
    write_plan(made, tmp_path)
    assert "auto_mkdir" not in (tmp_path / "plan.json").read_text()
    found = read_plan(tmp_path)
    assert found.pin() == made.pin()
    assert found.pictures.equals(made.pictures)
    assert json.loads((tmp_path / "plan.json").read_text())["arms"]["a"]["folder"] == sets["all"]


def test_a_plan_of_more_seeds_than_the_default_s_most_is_read_again(sets, tmp_path):
    settings = SETTINGS.model_copy(update={"replicates": 24, "most": 30})
    made = plan_comparison(Arm(sets["all"]), Arm(sets["part"]), settings)
    write_plan(made, tmp_path)
    found = read_plan(tmp_path)
    assert found.settings.replicates == 24
    assert found.pin() == made.pin()
