"""DuckDB on an object store: a request a file and not six, many at once."""

import numpy as np
import pyarrow as pa
import pytest

from nucleus_data.corpus import Corpus, duck_files
from nucleus_data.corpus.tables import Table
from nucleus_data.world.corpora import small_corpus, write_part
from nucleus_data.world.throttled import counted, throttled

ROWS = 3000


@pytest.fixture(params=[duck_files.WHOLE, 40_000], ids=["small files", "large files"])
def corpus(tmp_path, request, monkeypatch):
    monkeypatch.setattr(duck_files, "WHOLE", request.param)
    monkeypatch.setattr(duck_files, "TAIL", 4096)
    local = small_corpus(tmp_path / "c", shards=0)
    for shard in (1, 2, 1_000_000):
        keys = {"shard": pa.array([shard] * ROWS, pa.int32()), "row": np.arange(ROWS, dtype="i4")}
        values = np.random.default_rng(shard).random((2, ROWS))
        columns = {"id": [str(n) for n in range(ROWS)], "a": values[0], "b": values[1]}
        write_part(Table(local.store, "mine", "aa"), shard, pa.table({**keys, **columns}))
    return Corpus(*throttled(local.store.path(""))), local


def test_answers_are_those_of_a_local_corpus_with_few_requests(corpus):
    there, local = corpus
    asked = "SELECT shard, count(*), sum(a), max(id) FROM {} GROUP BY 1 ORDER BY 1"
    with counted() as requests:
        found = [
            one.connection().sql(asked.format(Table(one.store, "mine", "aa").sql())).fetchall()
            for one in (there, local)
        ]
    assert found[0] == found[1]
    assert [row[:2] for row in found[0]] == [(1, ROWS), (2, ROWS), (1_000_000, ROWS)]
    assert not [path for kind, path, *_ in requests.made if kind == "info" and "-0." in path]
    assert requests.count("read") <= 3 * 6
