import json
import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from nucleus_data import join_captions
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.sets import joined
from nucleus_data.sets.joined import column_name, joined_schema, read_joined, suffix_of
from nucleus_data.sets.layout import TarEntry
from tests.support.sets import Made, about, add_edition, add_tar, jpeg, make_set, members


@pytest.fixture
def made(tmp_path):
    return make_set(tmp_path / "set", {"64/1x1": 6})


def test_a_sample_has_its_picture_provenance_captions_and_columns(made, monkeypatch):
    monkeypatch.setattr(joined, "PIECE", 1500)  # several pieces a tar
    entry = made.manifest()[0]
    found = list(read_joined(made, entry, made.edition(), made.columns()))
    files, told = members(made, entry.path), about(made, entry.path)
    assert [s.id for s in found] == list(files)
    assert [s.picture for s in found] == [f["jpg"] for f in files.values()]
    assert suffix_of(made, entry) == "jpg"
    names = joined_schema(made, made.columns()).names
    for number, sample in enumerate(found):
        assert list(sample.facts) == names
        assert {k: sample.facts[k] for k in told[sample.id]} == told[sample.id]
        assert sample.facts["captions"] == [f"web {number}", f"short {number}"]
        assert sample.caption == f"short {number}"
        assert sample.facts["tier"] == f"A{1 + number % 3}"
    (fifth, _) = read_joined(made, made.manifest()[1], made.edition())
    assert (fifth.caption, fifth.facts["captions"]) == ("", [])
    assert column_name("width") == "columns.width"


def test_a_damaged_picture_and_captions_of_other_samples_are_errors(made):
    entry = made.manifest()[0]
    place = made.index(entry.path).to_pylist()[1]
    with Path(made.url(entry.path)).open("r+b") as tar:
        tar.seek(place["offset"] + 20)
        tar.write(b"!")
    with pytest.raises(DamagedError, match=f"picture of {place['id']} has changed"):
        list(read_joined(made, entry, made.edition()))
    other = made.new_edition("d" * 16)
    rows = made.edition().captions(entry.path)
    other.write(entry.path, rows.take(pa.array([1, 0, 2, 3])))
    with pytest.raises(CorpusError, match="does not match the samples"):
        next(read_joined(made, entry, other))


def test_an_id_that_is_a_path_becomes_no_name(tmp_path):
    made = make_set(tmp_path / "set", {"64/1x1": 1})
    size = (64, 64)
    row = add_tar(
        made, "64/1x1/000001.tar", 64, "1x1", size, [Made(1, jpeg(1, size), size, key="../x")]
    )
    add_edition(made, [row], config_hash="f" * 16)
    with pytest.raises(CorpusError, match=r"the id '../x' is not a valid name"):
        next(read_joined(made, TarEntry(**row), made.edition("ffff")))


def test_captions_are_joined_while_webdataset_reads_the_set(made, tmp_path):
    # As webdataset gives them, which tests/test_readers.py runs.
    tars = [made.url(entry.path) for entry in made.manifest()]
    samples = [
        {"__url__": made.url(entry.path), "__key__": key, **files}
        for entry in made.manifest()
        for key, files in members(made, entry.path).items()
    ]
    stage = pickle.loads(pickle.dumps(join_captions(made.url(), "source, short")))
    found = {s["__key__"]: s for s in stage(samples)}
    assert len(found) == 6
    edition = made.edition()
    for path in (entry.path for entry in made.manifest()):
        for row in edition.captions(path).to_pylist():
            sample = found[row["id"]]
            assert sample["txt"].decode() == (row["captions"] or [""])[-1]
            assert json.loads(sample["captions.json"]) == row["captions"]
    add_edition(
        made, [{"path": e.path} for e in made.manifest()], config_hash="f" * 16, name="other"
    )
    with pytest.raises(RequestError, match="several caption editions"):
        join_captions(made.url())
    foreign = join_captions(made.url(), "other")([{"__url__": tars[0], "__key__": "x"}])
    with pytest.raises(RequestError, match="x is not in captions/f"):
        next(foreign)
