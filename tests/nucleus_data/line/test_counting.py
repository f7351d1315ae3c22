"""The counts that a run leaves when it ends, made by workers where there is too much to count."""

import json

import pyarrow as pa

from nucleus_data.corpus.counts import COUNTS, Counts
from nucleus_data.corpus.tables import Table
from nucleus_data.line import counting as module
from nucleus_data.line.counting import count_tables, leave_counts
from nucleus_data.world.corpora import small_corpus, write_part
from tests.support import curated


def corpus_of(folder, shards):
    """A corpus of shards of one record each, all but the last two measured by `inspect.file`."""
    corpus = small_corpus(folder, shards=0)
    hashed = curated.recipe(corpus.uri).pins().tables["inspect.file"]
    for shard in shards:
        row = {"shard": [shard], "row": [0], "id": [f"{shard}"]}
        table = pa.table(row).cast(pa.schema({"shard": "int32", "row": "int32", "id": "string"}))
        table = table.append_column("error", pa.nulls(1, pa.string()))
        write_part(corpus.records, shard, table)
        if shard not in shards[-2:]:
            write_part(Table(corpus.store, "inspect.file", hashed), shard, table)
    return corpus, Table(corpus.store, "inspect.file", hashed)


def left(corpus, name):
    """The counts that a run left, as numbers."""
    content = json.loads(corpus.store.read(f"runs/{name}/{COUNTS}"))
    return sorted(tuple(one) for one in content["counts"].values())


def test_a_run_leaves_counts_of_a_large_corpus_alone(tmp_path, monkeypatch):
    corpus, table = corpus_of(tmp_path / "c", [1, 2, 3, 1_000_000])
    run = curated.run(corpus.uri, "inspect")
    leave_counts(run.run, run.stages["inspect"])
    assert not corpus.store.exists(f"runs/{run.name}/{COUNTS}")
    monkeypatch.setattr(module, "LEFT_FROM", 4)
    leave_counts(run.run, run.stages["inspect"])
    assert left(corpus, run.name) == [(1, 0, 0), (2, 0, 0), (3, 0, 0)]
    before = list(count_tables(corpus, [corpus.records, table]))
    assert before == [Counts(4), Counts(2)]
    for name in corpus.store.list(table.folder):
        corpus.store.put(f"{table.folder}/{name}", b"not read any more")
    assert list(count_tables(corpus, [corpus.records, table])) == before


def test_workers_count_what_is_too_much_for_the_driver(tmp_path, monkeypatch):
    corpus, table = corpus_of(tmp_path / "c", [1, 2, 3, 1_000_000])
    monkeypatch.setattr(module, "LEFT_FROM", 4)
    monkeypatch.setattr(module, "MOST_SHARDS", 2)
    run = curated.run(corpus.uri, "inspect")
    driver = module.counted
    monkeypatch.setattr(module, "counted", lambda groups, known, *rest: None)
    leave_counts(run.run, run.stages["inspect"])
    # `inspect.file` has two shards only, which the driver would count itself.
    assert left(corpus, run.name) == [(1, 0, 0), (3, 0, 0)]
    monkeypatch.setattr(module, "counted", driver)
    assert list(count_tables(corpus, [corpus.records, table])) == [Counts(4), Counts(2)]
    assert run.failures == run.lines == []
