import csv

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.corpus.exported import exports
from nucleus_data.errors import RequestError
from nucleus_data.hashing import record_id
from nucleus_data.views.export import _rows, export, made_lines
from nucleus_data.world.corpora import small_corpus
from tests.support.command import nucleus
from tests.support.looked_at import RULES, look


@pytest.mark.slow
def test_an_export_holds_the_kept_records(made, tmp_path):
    run = look(made)
    run.use_selection()
    for name, reader in (
        ("kept.parquet", lambda path: pq.read_table(path).to_pylist()),
        ("kept.csv", lambda path: list(csv.DictReader(path.read_text().splitlines()))),
    ):
        target = tmp_path / name
        assert export(run.run, run.stages["select"], str(target)) == 21
        rows = reader(target)
        assert [row["key"] for row in rows] == ["kept.png", *(f"{i}.png" for i in range(20))]
        assert rows[0]["id"] == record_id("test", "kept.png")
        assert rows[0]["source.caption"] == "a picture"
        assert len(rows[0]["sha256"]) == 64
        assert {"source", "key"} < set(rows[0])
        assert {"offset", "file", "error"}.isdisjoint(rows[0])
    with pytest.raises(RequestError, match=r"can't export to '.*kept.txt': the path must .*csv"):
        export(run.run, run.stages["select"], str(tmp_path / "kept.txt"))
    (tmp_path / "file").write_text("x")
    for target, reason in {
        str(tmp_path / "absent/kept.csv"): "no such file or directory",
        str(tmp_path / "file/kept.csv"): "not a directory",
        str(tmp_path / f"{'x' * 300}.csv"): "file name too long",
        "memory://kept.csv": "records can only be written to a local path; give one",
    }.items():
        with pytest.raises(RequestError) as told:
            export(run.run, run.stages["select"], target)
        assert str(told.value).startswith(f"can't export to '{target}': {reason}")
    assert isinstance(pq.read_schema(tmp_path / "kept.parquet"), pa.Schema)


@pytest.mark.slow
def test_the_records_of_other_states_come_with_their_reasons(made, tmp_path):
    run = look(made)
    select = run.stages["select"]

    def rows(*states, name="x.parquet"):
        assert export(run.run, select, str(tmp_path / name), states) >= 1
        return pq.read_table(tmp_path / name).to_pylist()

    (small,) = rows("rejected")
    assert (small["key"], small["state"], small["reasons"]) == ("small.png", "rejected", ["small"])
    (copy,) = rows("duplicate")
    assert copy["duplicate_of"] == record_id("test", "kept.png")
    (broken,) = rows("failed")
    assert (broken["reasons"], broken["detail"]) == (["not_an_image"], None)
    assert len(rows("kept", "failed")) == 22
    assert "state" not in rows("kept")[0]
    assert export(run.run, select, str(tmp_path / "x.csv"), ["rejected", "duplicate"]) == 2
    (first, second) = csv.DictReader((tmp_path / "x.csv").read_text().splitlines())
    assert {first["state"], second["state"]} == {"rejected", "duplicate"}
    assert export(run.run, select, str(tmp_path / "none.csv"), ["pending"]) == 0


def test_an_upstream_column_s_name_may_have_quotes_in_it(tmp_path):
    place = {"shard": pa.array([0, 0], pa.int32()), "row": pa.array([0, 1], pa.int32())}
    records = pa.table({**place, "id": ["a", "b"], 'source.a"b': ["x", "y"], "source.it's": [1, 2]})
    why = {"reasons": [[], ["small"]], "duplicate_of": pa.nulls(2, pa.string())}
    decided = pa.table({**place, "state": ["kept", "rejected"], **why})
    corpus = small_corpus(tmp_path, shards=0)
    rows = _rows(corpus, records.slice(0, 0), ["kept"], [(records, decided)])
    assert rows.to_pylist() == records.slice(0, 1).to_pylist()


@pytest.mark.slow
def test_the_selection_that_is_exported_is_told_with_its_sums_and_how_it_was_made(made, tmp_path):
    run = look(made)
    export(run.run, run.stages["select"], str(tmp_path / "x.csv"))
    # A takedown names it.
    known = [one for one in exports(run.corpus.store) if one["url"] == str(tmp_path / "x.csv")]
    assert [(one["as"], one["states"]) for one in known] == [("records", ["kept"])]
    first, second, third = made_lines(run.run)
    sums = "21 kept + 1 rejected + 1 duplicate + 1 failed + 0 pending"
    assert first == f"selection {made.made.tables['selection']}: 24 records = {sums}"
    assert second == f"  made by the run {made.made.name}: curate"
    assert third == "  1 rules; the best of duplicates is kept"


@pytest.mark.slow
def test_the_command_exports_states(made, tmp_path):
    where = [str(tmp_path / "x.csv"), f"corpus={made.uri}", RULES]
    said = nucleus("export", *where).splitlines()
    assert said[0].startswith("selection ")
    assert said[-2:] == ["21 kept records", str(tmp_path / "x.csv")]
    said = nucleus("export", "--state", "rejected", "--state", "failed", *where)
    assert "2 rejected and failed records" in said
    assert "'kept', 'rejected', 'duplicate'" in nucleus("export", "--state", "x", *where, code=2)
