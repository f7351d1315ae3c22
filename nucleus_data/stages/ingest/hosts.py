"""The table of hosts: counts of requests and failures per host, one file per shard in `hosts/`.

    SELECT host, sum(asked), sum(failed), sum(robots), sum(slowed_s) FROM 'CORPUS/hosts/*.parquet'
    GROUP BY host ORDER BY sum(failed) DESC

It describes the requests of the process that published the shard's tar. No record depends on it.
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus import Corpus
from nucleus_data.stages.ingest.http.told import HOSTS, troubled

FOLDER = "hosts"
SCHEMA = pa.schema(
    [
        ("host", pa.string()),
        ("domain", pa.string()),
        ("asked", pa.int64()),
        ("images", pa.int64()),
        ("bytes", pa.int64()),
        ("failed", pa.int64()),
        ("robots", pa.int64()),
        ("slowed_s", pa.float64()),
        ("closed", pa.bool_()),
    ]
)


def hosts_name(number: int) -> str:
    """Returns the path of a shard's table below the corpus."""
    return f"{FOLDER}/{number:06d}.parquet"


def keep_hosts(corpus: Corpus, number: int, folder: Path) -> None:
    """Writes the table of a shard, from the counts in the fetcher's folder, if there are any."""
    file = folder / HOSTS
    if file.exists():
        table = pa.Table.from_pylist(json.loads(file.read_text()), SCHEMA)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        corpus.store.create(hosts_name(number), sink.getvalue().to_pybytes())


def troubled_hosts(corpus: Corpus, number: int) -> dict[str, int]:
    """Returns the worst of the hosts with problems -> number of their URLs without an image."""
    try:
        data = corpus.store.read(hosts_name(number))
    except FileNotFoundError:
        return {}
    return troubled(pq.read_table(pa.BufferReader(data)).to_pylist())
