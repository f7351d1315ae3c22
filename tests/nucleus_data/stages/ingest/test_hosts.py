"""The table of hosts, and what people are told of it; over a real server."""

import pyarrow.parquet as pq
import pytest

from nucleus_data.stages.ingest.build import build_shard
from nucleus_data.stages.ingest.hosts import hosts_name
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from nucleus_data.stages.ingest.stage import BuildTask
from nucleus_data.world.server import WorldServer
from tests.support import curated
from tests.support.ingested import images, rows
from tests.support.web import HERE, QUICK, picture, served

KINDS = ("none", "404", "429:1*1", "redirect:1", "html", "none")


@pytest.fixture
def server(tmp_path):
    robots = "User-agent: *\nDisallow: /5.png\n"
    with WorldServer(served(tmp_path / "web", 6, robots)) as made:
        yield made


def listed(server, tmp_path):
    source = tmp_path / "list.txt"
    source.write_text("\n".join(server.url_of(f"{n}.png", kind) for n, kind in enumerate(KINDS)))
    return str(source)


@pytest.mark.slow
def test_an_ingest_tells_of_each_host(corpus, tmp_path, server, hasty):
    said = {**QUICK, "allow_hosts": (HERE,)}
    plan_ingest(corpus, IngestSettings(source=listed(server, tmp_path), **said))
    counts = build_shard(corpus, 0)
    found = rows(corpus)
    assert [row["error"] for row in found] == [
        *(None, "http_404", None, None, "not_an_image", "robots_txt")
    ]
    assert images(corpus) == [picture(n) for n in (0, 2, 3)]
    final = [row["source.final_url"] for row in found]
    assert final == [None] * 3 + [server.url + "/3.png?fault=redirect:0"] + [None] * 2
    (row,) = pq.read_table(corpus.store.path(hosts_name(0))).to_pylist()
    assert (row["host"], row["domain"], row["closed"]) == (HERE, HERE, False)
    counted = {name: row[name] for name in ("asked", "images", "failed", "robots")}
    assert counted == {"asked": 7, "images": 3, "failed": 3, "robots": 1}
    assert row["bytes"] == sum(len(picture(n)) for n in (0, 2, 3))
    assert row["slowed_s"] >= 0.1
    assert counts["hosts"] == {HERE: 3}
    assert list((tmp_path / "corpus" / "incoming").iterdir()) == []


def test_a_run_says_which_hosts_were_in_trouble(tmp_path, server, hasty):
    options = [f"ingest.{name}={value}" for name, value in QUICK.items()]
    run = curated.run(
        str(tmp_path / "c"),
        "ingest",
        f"ingest.source={listed(server, tmp_path)}",
        f"ingest.allow_hosts=[{HERE}]",
        *options,
        create=True,
        said=(said := []),
    )
    run.do("ingest")
    lines = "\n".join(said)
    assert "1 host of 1 registered domain to contact" in lines
    assert "requests to 1 hosts were slowed down or given up" in lines
    assert f"{HERE} 3" in lines


def test_a_task_knows_how_many_work_beside_it():
    task = BuildTask("c", {}, {})
    assert (task.workers, task.among(5).workers) == (1, 5)
