import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nucleus_data.corpus.damaged import DamagedError
from nucleus_model.data.arrow_files import TARS
from nucleus_model.data.places import PLACE
from nucleus_model.data.tables import Tables
from tests.support.loading import STREAMS, Opened
from tests.support.sets import make_set


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = make_set(tmp_path_factory.mktemp("tables") / "set", {"64/1x1": 10, "64/4x3": 3})
    return folder, Opened(folder.url(), **STREAMS)


def test_places_are_those_of_the_index_in_48_bytes(made):
    folder, opened = made
    assert PLACE.itemsize == 48
    for tar, entry in enumerate(folder.manifest()):
        index, places = folder.index(entry.path), opened.set.tables.places(tar)
        assert [row.tobytes().hex() for row in places["id"]] == index["id"].to_pylist()
        for name in ("offset", "size", "crop"):
            assert places[name].tolist() == index[name].to_pylist()
        assert not places["cut"].any()


def test_another_process_reads_no_store_for_what_there_is_a_copy_of(made):
    _, opened = made
    tables = opened.set.tables
    every = range(len(tables.paths))
    tables.read_all(every)
    said = [tables.captions(tar).to_pylist() for tar in every]
    other = Tables(opened.set.source)
    other.folder = other.store = other._edition = None
    other._edition = object()
    assert [other.places(tar).tobytes() for tar in every] == [
        tables.places(tar).tobytes() for tar in every
    ]
    assert [other.captions(tar).to_pylist() for tar in every] == said
    assert other.files.made == 0


def test_all_places_at_once_are_the_tars_one_after_the_other(made):
    folder, _ = made
    exact = Opened(folder.url())
    tables = exact.set.tables
    whole = tables.whole()
    assert [len(tables.places(tar)) for tar in range(4)] == [4, 4, 2, 3]
    assert np.concatenate([tables.places(tar) for tar in range(4)]).tobytes() == whole.tobytes()
    assert Path(exact.set.source.copies, "places.bin").stat().st_size == 48 * 13


def test_a_column_that_is_not_there_is_named(made):
    folder, _ = made
    opened = Opened(folder.url(), mixture={"tier": {"A1": 1}})
    assert opened.set.tables.columns(0, ["tier"]).column_names == ["tier"]
    with pytest.raises(ValueError, match=r"no column 'level' beside its tars; available: id, tier"):
        opened.set.tables.columns(0, ["level"])


def test_captions_that_cannot_be_read_are_named(tmp_path):
    folder = make_set(tmp_path / "set", {"64/1x1": 3})
    opened = Opened(folder.url(), **STREAMS)
    tables = opened.set.tables
    file = folder.edition().file(tables.path(0))
    (tmp_path / "set" / file).write_bytes(b"none")
    copies = tmp_path / "copies"  # none of this file
    copies.mkdir()
    shutil.copy(tables.files.folder / TARS, copies)
    other = Tables(replace(tables.source, copies=str(copies)))
    with pytest.raises(DamagedError, match=f"{file} cannot be read: it has 4 bytes"):
        other.caption_sources(0)
