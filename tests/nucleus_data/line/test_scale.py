"""Nothing on the driver grows with the shards, but for listings and footers read many at a time.

Commands are run on corpora of copies of one shard, on a store that counts requests and takes a time
for each. How many were made one after the other is what a person waits for.
"""

import threading
import tracemalloc
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.corpus.tables import Table
from nucleus_data.world.corpora import small_corpus, write_part
from nucleus_data.world.throttled import counted, throttled
from scripts import bench_status
from tests.support.command import nucleus, work_here

SMALL, LARGE = 50, 500
DELAY_S = 0.06
MORE = LARGE - SMALL
# Command -> requests that each further shard may cost: a footer or a part of each table it reads.
COMMANDS = {
    "status": 6,
    "inspect --dry-run": 4,
    "dedup --dry-run": 1,
    "compare --dry-run": 0,
    "select --dry-run": 0,
    "caption --dry-run": 10,
    "ingest --dry-run": 2,
    "retry inspect": 0,
    "retry ingest": 1,
    "export OUT.parquet": 4,
    "explain ID": 4,
    "captions list": 4,
    "diff SELECTION SELECTION": 4,
}
# In a row: one for each further shard would be 450; on a busy machine, requests overlap less.
IN_A_ROW = 2 * MORE // 3
# What is held by the requests in flight; how many end at once changes from run to run.
BYTES = 16 << 20


def asked(folder, corpus, delay_s, command):
    """Runs a command on a corpus on a throttled store; returns its requests and what it held."""
    url, options = throttled(corpus.store.path(""), delay_s)
    (selection,) = corpus.config_hashes("selection")
    replaced = {
        "ID": corpus.records.read(corpus.shards()[3], ["id"])["id"][0].as_py(),
        "SELECTION": selection,
        "OUT.parquet": str(folder / "out.parquet"),
    }
    words = [replaced.get(word, word) for word in command.split()]
    settings = [f"storage_options.{name}={value}" for name, value in options.items()]
    settings += [f"corpus={url}", f"ingest.source={folder / 'pictures'}", *bench_status.SETTINGS]
    tracemalloc.start()
    with counted() as requests, arrow_peak() as arrow:
        said = nucleus(*words, *settings)
        made, depth = requests.count(), requests.depth
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return SimpleNamespace(made=made, depth=depth, held=held + arrow.most, said=said)


class arrow_peak:
    """The most that Arrow held at a time, looked at every few milliseconds."""

    def __enter__(self):
        self.most, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self):
        before = pa.total_allocated_bytes()
        while not self._over.wait(0.005):
            self.most = max(self.most, pa.total_allocated_bytes() - before)

    def __exit__(self, *raised):
        self._over.set()
        self._thread.join()


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """A folder with corpora of 50 and of 500 shards."""
    folder = tmp_path_factory.mktemp("scale")
    one = bench_status.make_one(folder)
    return folder, [bench_status.make_corpus(folder, one, n) for n in (SMALL, LARGE)]


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_waits_no_longer_for_ten_times_the_shards(corpora, monkeypatch, command):
    work_here(monkeypatch)
    folder, both = corpora
    asked(folder, both[0], 0, command)  # imports what it needs
    small, large = (asked(folder, corpus, DELAY_S, command) for corpus in both)
    assert large.made - small.made <= COMMANDS[command] * MORE + 20
    assert large.depth - small.depth <= IN_A_ROW
    assert large.held - small.held <= BYTES


@pytest.mark.slow
def test_a_status_after_a_run_that_ended_reads_no_footer(corpora):
    folder, (_, corpus) = corpora
    before = asked(folder, corpus, 0, "status")
    bench_status.finish_a_run(bench_status.recipe(folder, corpus.uri))
    after = asked(folder, corpus, 0, "status")
    assert before.made > 5 * LARGE
    assert after.made < 80
    lines = [line for line in before.said.splitlines() if "last run" not in line]
    assert [line for line in after.said.splitlines() if "last run" not in line] == lines


def test_a_status_asks_for_each_part_once_and_for_none_in_a_row(tmp_path):
    found = []
    for shards in (10, 50):
        corpus = small_corpus(tmp_path / str(shards), shards=0)
        rows = pa.table({"shard": pa.array([0], pa.int32()), "row": pa.array([0], pa.int32())})
        rows = rows.append_column("id", [["x"]]).append_column("error", pa.nulls(1, pa.string()))
        for shard in range(999_990, 999_990 + shards):
            for table in (corpus.records, Table(corpus.store, "mine", "aa")):
                write_part(table, shard, rows)
        url, options = throttled(corpus.store.path(""), 0.003)
        given = [f"storage_options.delay_s={options['delay_s']}", f"corpus={url}"]
        with counted() as requests:
            said = nucleus("status", *given)
        assert f"{shards} records in {shards} image shards" in said
        found.append((requests.count(), requests.depth))
    (few, one), (many, other) = found
    assert many - few == 2 * 40
    assert other - one < 25


@pytest.mark.slow
def test_shards_beyond_999_999_are_in_the_order_of_their_numbers(corpora):
    folder, _ = corpora
    one = bench_status.Corpus(str(folder / "one"))
    corpus = bench_status.make_corpus(folder, one, 4, first=999_998)
    said = asked(folder, corpus, 0, "status").said
    assert "20 records in 4 image shards" in said
    assert "inspect: 20 rows, 20 already done, 0 to do" in (
        asked(folder, corpus, 0, "inspect --dry-run").said
    )
    asked(folder, corpus, 0, "export OUT.parquet")
    shards = pq.read_table(folder / "out.parquet").column("shard").to_pylist()
    assert shards == sorted(shards)
    assert set(shards) == set(corpus.shards()) == set(range(999_998, 1_000_002))
