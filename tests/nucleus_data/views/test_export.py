import csv

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.errors import RequestError
from nucleus_data.hashing import record_id
from nucleus_data.views.export import export
from tests.support.looked_at import look


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
    with pytest.raises(RequestError, match=r"cannot export to '.*kept.txt'; allowed: .*csv"):
        export(run.run, run.stages["select"], str(tmp_path / "kept.txt"))
    with pytest.raises(RequestError, match=r"cannot export to '.*absent.kept.csv'"):
        export(run.run, run.stages["select"], str(tmp_path / "absent" / "kept.csv"))
    assert isinstance(pq.read_schema(tmp_path / "kept.parquet"), pa.Schema)
