"""The partitioned search against the one in memory, on tables without pictures."""

import json
import re
import subprocess
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.stages.dedup.gather import ComparedCorpus
from nucleus_data.stages.dedup.pairs import find_duplicates
from nucleus_data.stages.dedup.partitioned import SearchPlan
from nucleus_data.stages.dedup.settings import DedupSettings
from nucleus_data.stages.dedup.stage import compare
from tests.support.clustered import HASHES, TABLES, clustered_table, source
from tests.support.commands import REPOSITORY
from tests.support.curated import InlineLoop, table
from tests.support.quick import quick

KEYS = ["shard", "row", "id"]


def write_corpus(folder, rows: pa.Table) -> Corpus:
    """A corpus that holds what is compared, and nothing else."""
    corpus = Corpus(str(folder), create=True)
    for shard in pc.unique(rows["shard"]).to_pylist():
        mine = rows.filter(pc.equal(rows["shard"], shard))
        # What has no hash failed.
        error = pc.if_else(mine["phash"].is_valid(), pa.scalar(None, pa.string()), "truncated")
        corpus.records.append(
            shard, mine.select([*KEYS, "sha256"]).append_column("error", error), {}
        )
        measured = mine.filter(mine["phash"].is_valid())
        for name, columns in TABLES.items():
            target = Table(corpus.store, name, HASHES[name])
            target.append(shard, measured.select([*KEYS, *columns]), {})
    return corpus


def inline(name, task, items, total):
    return InlineLoop(name, task, None).run(items, total)


@pytest.mark.slow
@pytest.mark.parametrize(("distance", "records"), quick([(0, 40), (4, 40), (4, 200)], {(4, 40)}, 2))
def test_files_and_memory_give_the_same_table(tmp_path, records, distance):
    rows, other = clustered_table(8, 300, centres=4), clustered_table(8, 90, centres=4)
    corpora = [write_corpus(tmp_path / "own", rows), write_corpus(tmp_path / "release", other)]
    sources = [source(corpus, number) for number, corpus in enumerate(corpora)]
    settings = DedupSettings(
        distance=distance, partition_records=records, against={"release": corpora[1].uri}
    )
    expected = find_duplicates(rows, settings, [other])
    counts = compare(corpora[0], "files", sources, settings, inline)
    roomy = settings.model_copy(update={"partition_records": 1000})
    in_memory = compare(corpora[0], "memory", sources, roomy, inline)
    for name in ("files", "memory"):
        assert table(corpora[0], "dedup", name) == expected.to_pylist()
    assert counts == in_memory
    assert counts["pairs"] == len(expected) > 200
    assert counts["candidates"] > 50 or distance == 0
    assert (counts["records"], counts["others"]) == (300, 90)
    assert counts["exact"] == sum(expected["exact"].to_pylist()) > 20
    assert corpora[0].store.list("tables/dedup/files") == sorted(
        [
            "_published.json",
            *(f"{shard:06d}-0.parquet" for shard in {*expected["shard"].to_pylist()}),
        ]
    )


class Interrupted(Exception):
    pass


@pytest.mark.slow
def test_a_killed_search_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr("nucleus_data.stages.dedup.crowds.CROWD", 3)  # pairs, and crowds, too
    corpus = write_corpus(tmp_path, clustered_table(9, 200, centres=3))
    settings = DedupSettings(partition_records=110)
    worked = []

    def stopped_after(tasks):
        def run_tasks(name, task, items, total):
            def some():
                for item in items:
                    if len(worked) == tasks:
                        raise Interrupted
                    worked.append((name, item.number))
                    yield item

            return InlineLoop(name, task, None).run(some(), total)

        return run_tasks

    whole = compare(corpus, "whole", [source(corpus)], settings, stopped_after(-1))
    assert whole["crowded"] > 10
    total = len(worked)
    assert len(set(worked)) == total
    for name, tasks in (("a", 3), ("b", total // 2), ("c", total - 2)):
        worked.clear()
        with pytest.raises(Interrupted):
            compare(corpus, name, [source(corpus)], settings, stopped_after(tasks))
        assert compare(corpus, name, [source(corpus)], settings, inline) == whole
        assert table(corpus, "dedup", name) == table(corpus, "dedup", "whole")
    corpus.store.put("tables/dedup/whole/_search/x/records/000000", b"left by a kill")
    assert compare(corpus, "whole", [source(corpus)], settings, inline) == whole
    assert "_search" not in corpus.store.list("tables/dedup/whole")


def test_a_failed_task_ends_the_search_and_publishes_nothing(tmp_path):
    corpus = write_corpus(tmp_path, clustered_table(9, 100))
    corpus.store.put(
        f"tables/inspect.hash/{HASHES['inspect.hash']}/000003-1.parquet", b"no Parquet"
    )
    settings = DedupSettings(partition_records=50)
    assert compare(corpus, "dedup", [source(corpus)], settings, inline) is None
    assert not corpus.store.exists("tables/dedup/dedup/_published.json")


@pytest.mark.slow
def test_more_pairs_than_a_process_holds_end_the_search_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("nucleus_data.stages.dedup.crowds.PAIRS_A_RECORD", 1)
    monkeypatch.setattr("nucleus_data.stages.dedup.crowds.FEWEST_PAIRS", 1)
    corpus = write_corpus(tmp_path, clustered_table(9, 200, centres=2))
    reports = []

    def noting(name, task, items, total):
        reports.append(inline(name, task, items, total))
        return reports[-1]

    settings = DedupSettings(partition_records=150)
    assert compare(corpus, "dedup", [source(corpus)], settings, noting) is None
    assert re.search("more than 150 pairs of .* Lower dedup.distance", reports[-1].failed[0].error)
    assert not corpus.store.exists("tables/dedup/dedup/_published.json")


def test_a_plan_spreads_what_does_not_fit():
    sources = [
        ComparedCorpus(0, "a", {}, "upright", HASHES, range(7)),
        ComparedCorpus(1, "b", {}, "upright", HASHES, range(3)),
    ]
    plan = SearchPlan.made(sources, 50, DedupSettings(partition_records=10), "t")
    assert plan.parts == 5
    assert [(number, list(shards)) for number, shards in plan.pieces] == [
        *((0, [0, 1]), (0, [2, 3]), (0, [4, 5]), (0, [6])),
        *((1, [0, 1]), (1, [2])),
    ]


CHILD = """
import json, sys
import ray
from ray.cluster_utils import Cluster
from nucleus_data.corpus import Corpus
from nucleus_data.stages.dedup.settings import DedupSettings
from nucleus_data.stages.dedup.stage import compare
from nucleus_data.runner.loop import Loop
from nucleus_data.runner.work import Resources
from tests.support.clustered import source

class Told:
    def __init__(self, task): self.task = task
    def run(self, number):
        summary = self.task.run(number)
        summary.extra["node " + ray.get_runtime_context().get_node_id()] += 1
        return summary

nodes = {}
def run_tasks(name, task, items, total):
    report = Loop(name, Told(task), Resources(), progress=False).run(items, total)
    for key in [k for k in report.summary.extra if k.startswith("node ")]:
        nodes[key] = nodes.get(key, 0) + report.summary.extra.pop(key)
    return report

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
for _ in range(2):
    cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, runtime_env={"env_vars": {"PYTHONPATH": sys.argv[2]}})
corpus = Corpus(sys.argv[1])
settings = DedupSettings(partition_records=2000)
counts = compare(corpus, "nodes", [source(corpus)], settings, run_tasks)
ray.shutdown()
cluster.shutdown()
print(json.dumps([counts, nodes]))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_nodes_find_what_one_process_finds(tmp_path):
    rows = clustered_table(10, 12_000, centres=900)
    corpus = write_corpus(tmp_path, rows)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, corpus.uri, str(REPOSITORY)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    counts, nodes = json.loads(done.stdout.splitlines()[-1])
    expected = find_duplicates(rows)
    assert counts["pairs"] == len(expected) > 10_000
    assert table(corpus, "dedup", "nodes") == expected.to_pylist()
    assert len(nodes) == 3
