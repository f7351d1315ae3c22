"""Killed at any moment, a download goes on where it was, and gives the same, byte for byte."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from nucleus_data.world.server import WorldServer
from tests.support.ingested import tree
from tests.support.web import served

ROOT = Path(__file__).resolve().parents[5]
KINDS = ("none", "none", "404", "noai", "slow:0.3", "redirect:1", "html", "gzip", "500", "none")
THREADS = 6


def started(module, *arguments):
    command = [sys.executable, "-m", f"tests.support.{module}", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT)


def killed(server, kills, start):
    """Kills what `start` starts so many times, after so many requests; then lets it end."""
    draw, seen = random.Random(kills), 0
    for number in range(kills):
        target = seen + draw.randrange(2, 12)
        process = start()
        until = time.monotonic() + 60
        while process.poll() is None and len(server.log) < target and time.monotonic() < until:
            time.sleep(0.002)
        assert process.poll() is None, f"it ended before kill {number}"
        process.kill()
        process.wait(10)
        seen = len(server.log)
    assert start().wait(120) == 0


def listed(server, path, count):
    """Writes a list with each kind of answer; the first URLs stand there twice."""
    urls = [server.url_of(f"{n}.png", KINDS[n % len(KINDS)]) for n in range(count)]
    path.write_text("\n".join([*urls, *urls[:5]]))
    return path


def asked_twice(log):
    """How often one was asked that answers at once: what was in flight at a kill, and no more."""
    asked = Counter(request.path for request in log if "none" in request.path)
    return sum(count - 1 for count in asked.values())


@pytest.mark.slow
def test_two_kills_of_a_download(tmp_path):
    with WorldServer(served(tmp_path / "web", 40)) as server:
        source = listed(server, tmp_path / "list.txt", 40)
        outputs = [tmp_path / "whole.json", tmp_path / "killed.json"]
        assert started("fetch_some", source, tmp_path / "whole", outputs[0]).wait(60) == 0
        server._log.clear()
        killed(server, 2, lambda: started("fetch_some", source, tmp_path / "killed", outputs[1]))
        whole, found = (json.loads(output.read_text()) for output in outputs)
        assert found == whole
        assert asked_twice(server.log) <= 2 * THREADS


@pytest.mark.slow
def test_ten_kills_of_an_ingest(tmp_path):
    with WorldServer(served(tmp_path / "web", 150)) as server:
        source = listed(server, tmp_path / "list.txt", 150)
        assert started("ingest_urls", tmp_path / "whole", source, 3).wait(120) == 0
        server._log.clear()
        corpus = tmp_path / "killed"
        killed(server, 10, lambda: started("ingest_urls", corpus, source, THREADS))
        names = ("images/", "tables/")  # claims say how many at a time
        whole, found = (
            {n: data for n, data in tree(tmp_path / top).items() if n.startswith(names)}
            for top in ("whole", "killed")
        )
        assert found == whole
        assert len(found) >= 2
        assert asked_twice(server.log) <= 10 * THREADS
        assert not list(corpus.glob("incoming/*/*"))
