import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus_data.corpus.store import Store
from nucleus_data.stages.ingest.claims import read_claim
from nucleus_data.stages.ingest.listing.held_times import (
    DAY,
    FARTHEST_MS,
    held_copy,
    held_values,
)
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from tests.support.ingested import put_tar, tiny, url_list

FAR_MS = 2**62
TIMES = {
    pa.timestamp("ms"): (-FARTHEST_MS, FARTHEST_MS),
    pa.timestamp("ms", "UTC"): (-FARTHEST_MS, FARTHEST_MS),
    pa.time32("ms"): (0, DAY["ms"]),
    pa.time64("us"): (0, DAY["us"]),
    pa.time64("ns"): (0, DAY["ns"]),
}


def times(kind, numbers):
    whole = pa.int32() if pa.types.is_time32(kind) else pa.int64()
    return pa.array(numbers, whole).cast(kind)


@st.composite
def columns(draw):
    """A type of times, and numbers of its unit near its limits and anywhere."""
    kind = draw(st.sampled_from(list(TIMES)))
    most = 2**31 - 1 if pa.types.is_time32(kind) else 2**63 - 1
    edges = st.sampled_from([n + k for n in TIMES[kind] for k in (-1, 0, 1)])
    numbers = st.one_of(st.none(), edges, st.integers(-most - 1, most))
    return kind, draw(st.lists(numbers, max_size=6))


@pytest.mark.slow
@given(columns(), st.sampled_from(["plain", "list", "struct"]), st.booleans())
def test_what_duckdb_cannot_hold_costs_itself_alone(tmp_path_factory, column, shape, told):
    folder = tmp_path_factory.mktemp("held")
    kind, numbers = column
    low, high = TIMES[kind]
    values = times(kind, numbers)
    if shape == "list":
        values = pa.ListArray.from_arrays(pa.array(range(len(values) + 1), pa.int32()), values)
    elif shape == "struct":
        values = pa.StructArray.from_arrays([values, values.is_null()], ["t", "k"])
    table = pa.table({"n": range(len(values)), "t": values})
    pq.write_table(table, folder / "a.parquet", write_statistics=told)
    inside = [n is None or low <= n <= high for n in numbers]
    lost = held_copy(Store(str(folder)), "a.parquet", folder / "b.parquet")
    assert (lost is None) == all(inside)
    assert (folder / "b.parquet").exists() == (lost is not None)
    read = folder / ("a.parquet" if lost is None else "b.parquet")
    duckdb.connect().execute(f"CREATE TABLE found AS SELECT * FROM '{read}'")  # all are held
    copied = pq.read_table(read)
    assert copied.schema.equals(table.schema)
    kept = pa.array(inside, pa.bool_())
    assert copied.filter(kept).equals(table.filter(kept))
    if lost is not None:
        told_of = [] if shape == "plain" and pa.types.is_timestamp(kind) else ["t"]
        assert lost == told_of


def test_values_that_can_be_held_stay_the_same_array():
    for kind in (*TIMES, pa.timestamp("us"), pa.date32(), pa.string(), pa.list_(pa.int64())):
        array = pa.nulls(3, kind)
        assert held_values(array) is array


@pytest.mark.parametrize("kind", ["urls", "embedded", "img2dataset"])
def test_a_time_beyond_all_calendars_costs_its_value_and_not_the_source(corpus, tmp_path, kind):
    made = {
        "made": times(pa.timestamp("ms"), [1000, FAR_MS, None]),
        "clock": times(pa.time32("ms"), [5000, -1, None]),
        "deep": pa.array([[1000], [FAR_MS], None], pa.list_(pa.int64())).cast(
            pa.list_(pa.timestamp("ms"))
        ),
    }
    source = tmp_path / "source"
    source.mkdir()
    if kind == "urls":
        url_list(source / "0.parquet", [f"http://h/{n}" for n in range(3)], **made)
    elif kind == "embedded":
        pq.write_table(
            pa.table({"image": [tiny(n) for n in range(3)], **made}), source / "0.parquet"
        )
    else:
        keys = [f"{n:09d}" for n in range(3)]
        put_tar(source / "00000.tar", [(f"{key}.png", tiny()) for key in keys])
        status = ["success"] * 3
        table = pa.table({"key": keys, "status": status, **made})
        pq.write_table(table, source / "00000.parquet")
    plan = plan_ingest(corpus, IngestSettings(source=str(source)))
    assert (plan.kind, plan.found) == (kind, 3)
    claim = read_claim(corpus, 0).rows
    assert [str(v) for v in claim["source.made"].to_pylist()] == [
        "1970-01-01 00:00:01",
        "None",
        "None",
    ]
    assert claim["source.clock"].to_pylist() == ["00:00:05", None, None]
    assert claim["source.deep"].to_pylist() == ['["1970-01-01 00:00:01"]', "[null]", None]
    notes = "\n".join(plan.notes)
    assert "dates and times outside of the years 1 to 9999 left out of: made" in notes
    assert (
        "beyond 24 hours, or too far inside of lists and structures, left out of: clock, deep"
        in notes
    )
