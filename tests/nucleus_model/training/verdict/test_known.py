"""What is known of the reference pictures, as the sets have it."""

import json

import pyarrow as pa
import pytest

from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.known import known, measured
from nucleus_model.training.verdict.plan import PICTURES, Arm, Planned
from tests.support import sets

COUNT = 12


def planned(folder, ids, read_from="reference"):
    rows = [
        {
            "id": ident,
            "width": 64,
            "height": 64,
            "a": False,
            "b": False,
            "reference": True,
            "read_from": read_from,
            "caption": "word " * n,
        }
        for n, ident in enumerate(ids)
    ]
    arms = {name: Arm(str(folder)) for name in ("a", "b", "reference")}
    return Planned(VerdictSettings(), arms, {}, pa.Table.from_pylist(rows, PICTURES))


@pytest.fixture
def made(tmp_path):
    return sets.make_set(tmp_path / "set", {"64/1x1": COUNT})


def test_groups_are_those_of_the_set_that_pictures_are_read_from(made, tmp_path):
    ids = [sets.ident(n) for n in range(COUNT) if n % 5 != 4]
    found = known(list(measured(planned(tmp_path / "set", ids))))
    assert found.notes == ()
    assert list(found.groups) == [
        "source",
        "tier",
        "curriculum bucket",
        "size bucket",
        "caption kind",
        "words of the caption",
    ]
    columns = {row["id"]: row for row in made.columns().values("64/1x1/000000.tar").to_pylist()}
    for ident in set(ids) & set(columns):
        assert found.groups["tier"][ident] == columns[ident]["tier"]
        assert found.groups["curriculum bucket"][ident] == columns[ident]["curriculum"]
    assert set(found.groups["source"].values()) == {"made"}
    assert set(found.groups["caption kind"].values()) == {"synthesized:short"}
    assert [found.groups["words of the caption"][i] for i in ids[:2]] == ["none", "1 to 8"]
    assert {name: len(of) for name, of in found.groups.items()} == dict.fromkeys(
        found.groups, len(ids)
    )


def test_columns_that_are_several_are_said_and_those_that_are_missing_are_not(made, tmp_path):
    ids = [sets.ident(0)]
    sets.add_columns(made, made.manifest_table().to_pylist(), config_hash="d" * 16)
    found = known(list(measured(planned(tmp_path / "set", ids))))
    assert "several index columns" in found.notes[0]
    assert "tier" not in found.groups
    bare = sets.make_set(tmp_path / "bare", {"64/1x1": 4}, captions=False)
    sets.add_edition(bare, bare.manifest_table().to_pylist())
    found = known(list(measured(planned(tmp_path / "bare", ids))))
    assert (found.notes, "tier" in found.groups) == ((), False)


def test_a_sample_of_others_without_a_source_is_in_no_group_of_its_own(made, tmp_path):
    ids = [sets.ident(n) for n in range(3)]
    parts = list(measured(planned(tmp_path / "set", ids)))
    for text in (b"no json", b"[]", json.dumps({"source": None}).encode()):
        parts[0].opened.store.read_range = lambda *_, text=text: text
        parts[0].__dict__.pop("sources", None)
        assert "source" not in known(parts).groups
