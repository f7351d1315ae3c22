import pickle
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.damaged import DamagedError, DamagedWarning, advice_on, damaged
from nucleus_data.corpus.parts import encode_part
from nucleus_data.corpus.published import published
from nucleus_data.corpus.runs import failed_shards, plans, read_json, read_lines, stage_lines
from nucleus_data.corpus.tables import Table
from nucleus_data.corpus.told import command
from nucleus_data.errors import RequestError
from nucleus_data.world.corpora import small_corpus


@pytest.fixture
def corpus(tmp_path):
    """Two shards of records, and a table of them."""
    made = small_corpus(tmp_path / "c[1]", shards=2, images=3)
    for shard in (0, 1):
        Table(made.store, "mine", "aa").append(shard, rows(made, shard), {})
    return made


def rows(corpus, shard):
    keys = corpus.records.read(shard, ("shard", "row", "id"))
    return keys.append_column("value", [[0.5] * keys.num_rows])


def part(corpus, shard=1, table="mine/aa"):
    return Path(corpus.store.path(f"tables/{table}/{shard:06d}-0.parquet"))


def message(corpus, read=lambda t: t.read(1)):
    with pytest.raises(DamagedError) as caught:
        read(Table(corpus.store, "mine", "aa"))
    return str(caught.value)


def plain(columns):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "it has 0 bytes"),
        (b"PAR1" * 20, "it has 80 bytes; "),
        (bytes(500), "it has 500 bytes; Parquet magic bytes not found"),
        (plain({"x": [1]}), "it is a Parquet file without a nucleus footer"),
        (encode_part(pa.table({"x": [1]}), {"rows": "0"}), "it has no column shard"),
    ],
)
def test_the_message_says_file_size_fault_and_what_to_do(corpus, data, found):
    part(corpus).write_bytes(data)
    folder = part(corpus).parent
    for read in (lambda t: t.read(1), lambda t: t.covered(1), lambda t: t.append(1, None, {})):
        said = message(corpus, read)
        assert said.startswith(f"{part(corpus)} cannot be read: ")
        assert found in said
        assert said.endswith(
            f"Remove {folder}/000001-*.parquet, and run: {command('mine', corpus.uri)}"
        )
    assert Table(corpus.store, "mine", "aa").read(0).num_rows == 3


def test_a_part_of_another_table_or_shard_or_number_of_rows_is_none(corpus):
    one = part(corpus, 0).read_bytes()
    part(corpus).write_bytes(one)
    assert "it belongs to another shard: 0, not 1" in message(corpus)
    Table(corpus.store, "other", "aa").append(1, rows(corpus, 1), {})
    part(corpus).write_bytes(part(corpus, 1, "other/aa").read_bytes())
    assert "it belongs to another table: other, not mine" in message(corpus)
    part(corpus).write_bytes(encode_part(rows(corpus, 1), {"rows": "0-99999999999"}))
    assert "3 rows, but its footer says 100,000,000,000" in message(corpus)


def test_a_folder_in_its_place_and_a_file_that_may_not_be_read(corpus, monkeypatch):
    part(corpus).unlink()
    part(corpus).mkdir()
    assert "a folder is in its place" in message(corpus)
    with pytest.raises(DamagedError, match="a folder is in its place"):
        Table(corpus.store, "mine", "aa").sql()
    error = damaged(corpus.store, "tables/mine/aa/000001-0.parquet", PermissionError())
    assert f"permission denied. Allow this user to read it: chmod u+r '{part(corpus)}'" in str(
        error
    )


def test_a_store_that_is_away_is_no_damage(corpus, monkeypatch):
    def away(name):
        raise ConnectionError("away")

    monkeypatch.setattr(corpus.store, "read", away)
    with pytest.raises(ConnectionError):
        Table(corpus.store, "mine", "aa").read(1)


def test_what_to_do_is_right_for_each_kind(corpus):
    def said(name):
        return advice_on(corpus.store, name)

    assert "nucleus inspect corpus=" in said("tables/inspect.tone/aa/000001-0.parquet")
    assert "/_failed/000001-*.parquet" in said("tables/inspect.tone/aa/_failed/000001-0.parquet")
    assert "the folder" in said("tables/dedup/aa/000001-0.parquet")
    assert "nucleus select" in said("tables/selection/aa/_published.json")
    records = said("tables/records/aa/000001-0.parquet")
    assert "makes it from claims/000001.parquet and images/000001.tar" in records
    for name in ("tables/records/aa/_retried/000001-0.parquet", "claims/000001.parquet"):
        assert said(name).startswith("No stage can make it again: restore a copy.")
    assert "nucleus shard" in said("sets/main/aa/manifest.parquet")
    for name in ("captions/ee", "columns/cc"):  # beside the tars, which stay
        assert f"sets/main/aa/{name}', and run" in said(f"sets/main/aa/{name}/64/1x1/0.parquet")
    assert "sets/main/aa', and run" in said("sets/main/aa/64/1x1/000000.index.parquet")
    assert "no table depends on it" in said("runs/x/plan.json")


def test_the_error_can_be_sent_to_another_process():
    error = DamagedError("a", "/c/a", "found", "advice")
    assert str(pickle.loads(pickle.dumps(error))) == "/c/a cannot be read: found. advice"


def test_a_table_in_python_goes_without_a_damaged_part_and_says_so(corpus):
    part(corpus).write_bytes(b"PAR1")
    with pytest.warns(DamagedWarning, match=r"left out: .*000001-0.parquet cannot be read"):
        assert corpus.table("mine").count("*").fetchall() == [(3,)]
    part(corpus, 0).write_bytes(b"PAR1")
    with pytest.raises(DamagedError), warnings.catch_warnings():
        corpus.table("mine")


def test_a_page_that_only_a_full_read_finds_can_be_left_out(corpus):
    data = bytearray(part(corpus).read_bytes())
    data[4:60] = bytes(56)
    part(corpus).write_bytes(data)
    found = corpus.damaged("mine")
    assert [error.name for error in found] == ["tables/mine/aa/000001-0.parquet"]
    readable = corpus.without(found)
    assert readable.table("mine").count("*").fetchall() == [(3,)]
    assert corpus.left_out == ()
    assert readable.left_out == tuple(found)


def test_pairs_that_none_were_found_of_are_an_empty_table(corpus):
    corpus.store.create("tables/dedup/aa/_walk/x", b"")
    with pytest.raises(RequestError, match=r"dedup/aa has no rows .* run: nucleus dedup"):
        corpus.table("dedup")
    corpus.store.create("tables/dedup/aa/_published.json", b'{"pairs": 0}')
    assert corpus.table("dedup").filter("distance < 3").fetchall() == []


@pytest.mark.parametrize("marker", [b"", b"[]", b"{", b"\xff"])
def test_a_damaged_marker_is_named(tmp_path, marker):
    (tmp_path / "corpus.json").write_bytes(marker)
    for create in (False, True):
        with pytest.raises(RequestError, match=r"corpus.json cannot be read: .* writes it again"):
            Corpus(str(tmp_path), create=create)
    assert (tmp_path / "corpus.json").read_bytes() == marker


@pytest.mark.parametrize("data", [b"", b"[]", b'{"a', b"\xff", b"null"])
def test_json_that_is_none_is_named(corpus, data):
    store = corpus.store
    for name in ("tables/selection/aa/_published.json", "runs/1/plan.json"):
        store.put(name, data)
        with pytest.raises(DamagedError, match=name):
            published(store, "tables/selection/aa") if "tables" in name else read_json(store, name)
    assert list(plans(store)) == []


def test_lines_that_are_none_are_counted_and_the_list_of_failures_is_whole_or_named(corpus):
    store = corpus.store
    store.put("runs/1/stages.jsonl", b'{"stage": "inspect"}\n{"no": 1}\n[]\n{"stage": "in')
    assert stage_lines(store, "1") == [{"stage": "inspect"}]
    assert read_lines(store, "runs/1/stages.jsonl")[1] == 2
    store.put("runs/1/failures.jsonl", b'{"stage": "inspect", "shard": 7}\n')
    assert failed_shards(store, "1", "inspect") == [7]
    for data in (b"", b'{"stage": "inspect", "sh', b"{}\n"):
        store.put("runs/1/failures.jsonl", data)
        with pytest.raises(DamagedError, match=r"failures.jsonl cannot be read.*nucleus inspect"):
            failed_shards(store, "1", "inspect")
