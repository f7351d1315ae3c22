from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.stages.ingest.claims import read_claim
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from tests.support.ingested import ingest, put, rows, tiny


def listed(folder, name, values):
    """A URL list with a column `Year`, or `year`."""
    path = folder / f"{name}.parquet"
    column = "Year" if name == "one" else "year"
    pq.write_table(pa.table({"url": [f"ftp://{name}/0"], column: pa.array(values)}), path)
    return IngestSettings(source=str(path))


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [
        ([1999], [date(2020, 1, 2)], "2020-01-02"),
        ([date(2020, 1, 2)], [1999], "1999"),
        ([date(2020, 1, 2)], [True], "true"),
        ([1999], [2.5], 2.5),
        ([None], [date(2020, 1, 2)], date(2020, 1, 2)),
        (["x"], [5], 5),
    ],
)
def test_numbers_where_the_corpus_has_dates_are_texts(corpus, tmp_path, one, other, kept):
    assert plan_ingest(corpus, listed(tmp_path, "one", one)).notes == []
    plan = plan_ingest(corpus, listed(tmp_path, "other", other))
    assert read_claim(corpus, 1).rows["source.year"].to_pylist() == [kept]
    assert ("source.year" in str(plan.notes)) == (kept != other[0])


def test_fields_found_beside_pictures_count_too(corpus, tmp_path):
    ingest(corpus, put(tmp_path / "p", {"a.png": tiny(), "a.json": '{"year": 1999}'}))
    plan_ingest(corpus, listed(tmp_path, "list", [date(2020, 1, 2)]))
    assert read_claim(corpus, 1).rows["source.year"].to_pylist() == ["2020-01-02"]
    assert [row["source.year"] for row in rows(corpus)] == [1999]
