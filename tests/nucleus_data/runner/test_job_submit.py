"""`ray job submit` to a real local cluster, of the whole line.

The cluster is a head with its job server and token, and a second node.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from nucleus_data.corpus import Corpus
from tests.support.captions.unchecked import OVERRIDE
from tests.support.commands import REPOSITORY, assert_ended
from tests.support.worlds import write_pictures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head and one more node, one CPU each, ended by their process ids."""
    folder = tmp_path_factory.mktemp("cluster")
    gcs, dashboard = free_port(), free_port()
    env = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    env.pop("RAY_ADDRESS", None)
    ray = str(Path(sys.executable).with_name("ray"))
    common = ["--num-cpus=1", "--block", "--object-store-memory=100000000", "--disable-usage-stats"]
    head = [
        "--head",
        "--node-ip-address=127.0.0.1",
        f"--port={gcs}",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={dashboard}",
        f"--temp-dir=/tmp/ray-{gcs}",
    ]
    started = []
    with (folder / "log.txt").open("w") as log:
        for arguments in (head, [f"--address=127.0.0.1:{gcs}", "--node-ip-address=127.0.0.1"]):
            started.append(
                subprocess.Popen(
                    [
                        *(ray, "start", *arguments, *common),
                        f"--dashboard-agent-listen-port={free_port()}",  # one fixed port by default
                    ],
                    env=env,
                    stdout=log,
                    stderr=log,
                )
            )
            wait_until_up(f"http://127.0.0.1:{dashboard}", env["RAY_AUTH_TOKEN"])
    yield f"http://127.0.0.1:{dashboard}", env, ray
    everyone = [child for p in started for child in psutil.Process(p.pid).children(recursive=True)]
    for process in reversed(started):
        process.terminate()
        process.wait(timeout=60)
    assert_ended(everyone)


def wait_until_up(url: str, token: str) -> None:
    request = urllib.request.Request(
        f"{url}/api/version", headers={"Authorization": f"Bearer {token}"}
    )
    for _ in range(240):
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    raise AssertionError("the head did not come up in two minutes")


def submit(cluster, *arguments: str) -> subprocess.CompletedProcess:
    url, env, ray = cluster
    command = [ray, "job", "submit", "--address", url, "--working-dir", str(REPOSITORY), "--"]
    for _ in range(60):
        done = subprocess.run(
            [*command, "python", "-m", *arguments],
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=600,
            check=False,
        )
        if "No available agent" not in done.stdout:  # the head is up before its agent is
            break
        time.sleep(1)
    return done


def test_the_whole_line_as_a_job(cluster, tmp_path):
    write_pictures(tmp_path / "pictures", 60, seed=2)
    corpus = tmp_path / "corpus"
    done = submit(
        cluster,
        "pipelines.all",
        f"corpus={corpus}",
        f"ingest.source={tmp_path}/pictures",
        "ingest.images_per_shard=20",
        "caption.engine=transformers",  # the demo and the kills start vLLM
        "caption.variants.short.max_tokens=12",
        "caption.variants.long.max_tokens=16",
        OVERRIDE,  # they are cut: no check may refuse them
        "quick_train.preset=debug",
        "quick_train.steps=2",
        "quick_train.sample_steps=1",
        "quick_train.threads=1",
    )
    assert done.returncode == 0, done.stdout[-5000:]
    made = Corpus(str(corpus))
    assert made.shards() == [0, 1, 2]
    states = made.table("selection").aggregate("state, count(*)").fetchall()
    assert sum(count for _, count in states) == 60
    assert next(corpus.glob("sets/*/*/manifest.parquet"))
    assert next(corpus.glob("runs/*/report.html")).stat().st_size > 10_000
    stages = next(corpus.glob("runs/*/stages.jsonl")).read_text().splitlines()
    assert [json.loads(line)["stage"] for line in stages][-1] == "quick_train"


def test_a_relative_corpus_is_refused_in_a_job(cluster):
    done = submit(cluster, "pipelines.curate", "corpus=somewhere")
    assert done.returncode != 0
    assert "is a relative path, which in a Ray job" in done.stdout


def test_without_the_token_nothing_is_accepted(cluster):
    url, env, ray = cluster
    refused = subprocess.run(
        [ray, "job", "list", "--address", url],
        env={**env, "RAY_AUTH_TOKEN": "0" * 64},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert refused.returncode != 0
