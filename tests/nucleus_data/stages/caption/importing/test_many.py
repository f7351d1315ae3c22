"""Lists of more captions than the memory that is given to their join."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.stages.caption.importing import join
from nucleus_data.stages.caption.importing.imported import import_captions, plan_import
from nucleus_data.world.corpora import RECORDS, hex_texts, write_part

SHARDS, A_SHARD = 50, 10_000
LEFT_OUT = 1000


@pytest.mark.slow
def test_a_list_of_urls(tmp_path, monkeypatch):
    monkeypatch.setattr(join, "MEMORY_LIMIT", "64MB")  # too little for several joins at once
    corpus = Corpus(str(tmp_path / "corpus"), create=True)
    rng = np.random.default_rng(0)
    urls = []
    for shard in range(SHARDS):
        keys = [f"https://example.org/{shard}/{row}.jpg" for row in range(A_SHARD)]
        columns = {field.name: pa.nulls(A_SHARD, field.type) for field in RECORDS} | {
            "shard": pa.array(np.full(A_SHARD, shard, np.int32)),
            "row": np.arange(A_SHARD, dtype=np.int32),
            "id": hex_texts(rng, A_SHARD, 32),
            "key": keys,
        }
        write_part(corpus.records, shard, pa.table(columns, RECORDS))
        urls += keys
    chosen = rng.permutation(len(urls))[LEFT_OUT:].tolist()
    names = [urls[n] for n in chosen] + [f"https://nowhere.org/{n}" for n in range(LEFT_OUT)]
    captions = [f"number {n}" for n in chosen] + ["none"] * LEFT_OUT
    pq.write_table(pa.table({"url": names, "caption": captions}), tmp_path / "list.parquet")
    request = plan_import(str(tmp_path / "list.parquet"), "alt", [], corpus, columns={})
    content = import_captions(corpus, request)
    assert content["captions"] == len(chosen)
    assert {state: found["rows"] for state, found in content["states"].items()} == {
        "matched": len(chosen),
        "unmatched": LEFT_OUT,
    }
    table = corpus.at("caption.alt", content["config_hash"])
    rows = table.read(7, ["row", "caption"]).to_pylist()
    assert len(rows) > A_SHARD - LEFT_OUT
    assert all(row["caption"] == f"number {7 * A_SHARD + row['row']}" for row in rows)
