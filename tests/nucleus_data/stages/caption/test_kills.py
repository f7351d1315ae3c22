"""Kill -9 of driver, actor, worker and server while captions are made, by a stand-in at a pace.

Moments are drawn from a printed seed. What is promised: every caption there once, none of another
picture, the texts of an uninterrupted run (the share is printed), and for each kill at most one
window done twice: what the actor holds, and the shards that it was working on; of a server, what it
was working on. Kills with vLLM are in `tests/nucleus_data/runner/test_kills.py`, those of a server
with vLLM in `test_captioner_server_vllm.py`.

    NUCLEUS_KILLS=20 python -m pytest -s tests/nucleus_data/stages/caption/test_kills.py
"""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.images import read_images
from nucleus_data.pixels import open_picture
from nucleus_data.stages.caption.prompts import PROMPTS
from nucleus_data.world import render, scene
from tests.support.captions.killed import ASKED, said
from tests.support.captions.killed_server import ServerProcess
from tests.support.commands import (
    assert_agents_ended,
    assert_ended,
    environment,
    family,
    kill,
    nucleus,
    start,
    wait_for,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

KILLS = int(os.environ.get("NUCLEUS_KILLS", "6"))
VICTIMS = ("server", "driver", "actor", "worker")
KILLS_OF = {victim: len(range(place, KILLS, 4)) for place, victim in enumerate(VICTIMS)}
PICTURES = 40 + 8 * KILLS
A_SHARD = 3
IN_FLIGHT = 8
VARIANTS = ("short", "long")
SETTINGS = (
    f"ingest.images_per_shard={A_SHARD}",
    "select.rules={}",
    "select.drop_duplicates=false",
    f"caption.max_in_flight={IN_FLIGHT}",
)
ON_RAY, WITHOUT_RAY = ("ray.local.items=0",), ("ray.local.items=1000",)
TITLES = {ON_RAY: "ray::StageActor", WITHOUT_RAY: "nucleus_data.runner.local"}
# In the engine and ready for it, and the shards that an actor has.
WINDOW = len(VARIANTS) * (2 * IN_FLIGHT + 4 * A_SHARD)
LONGEST_PAUSE_S = 0.5  # until a killed server is started again


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    """A corpus that lacks captions."""
    root = tmp_path_factory.mktemp("caption_kills")
    (root / "pictures").mkdir()
    for number in range(PICTURES):
        render(scene(6, number), 96, 64).save(root / "pictures" / f"{number:04}.png")
    corpus = f"corpus={root / 'corpus'}"
    nucleus("ingest", corpus, f"ingest.source={root}/pictures", *SETTINGS, log=root / "log.txt")
    nucleus("select", corpus, *SETTINGS, log=root / "log.txt")
    yield root / "corpus"
    assert_agents_ended()


class Run:
    """The stage on a copy of the corpus."""

    window = WINDOW

    def __init__(self, curated, folder, where):
        self.where = where
        self.corpus, self.log = folder / "corpus", folder / "log.txt"
        self.asked = folder / "asked.txt"
        self.asked.touch()
        shutil.copytree(curated, self.corpus)

    def start(self):
        words = ("caption", f"corpus={self.corpus}", *SETTINGS, *self.where)
        command = [sys.executable, "-m", "tests.support.captions.killed", *words]
        with self.log.open("a") as stream:
            return subprocess.Popen(
                command,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**environment(), ASKED: str(self.asked)},
                cwd=self.log.parent,
            )

    def keys(self):
        """Shard, row and variant of each request so far."""
        lines = self.asked.read_text().splitlines()
        return [line.split(" ", 1)[1].rsplit("/", 1)[0] for line in lines if " " in line]

    def wait_for_asked(self, count, process):
        wait_for(lambda: len(self.keys()) >= count, process, self.log)

    def kill_driver(self, after):
        process = self.start()
        self.wait_for_asked(after, process)
        everyone = family(process)
        kill(everyone[0])
        process.wait()
        assert_ended(everyone[1:])

    def kill_workers(self, moments):
        """Kills an actor or a worker at each moment; the command goes on to its end."""
        process = self.start()
        victims = set()
        for after in moments:
            self.wait_for_asked(after, process)
            wait_for(lambda: self.kill_one(process, victims), process, self.log)
        assert process.wait(timeout=600) == 0, self.log.read_text()

    def kill_one(self, process, victims):
        for found in family(process):
            with contextlib.suppress(psutil.NoSuchProcess):
                title = " ".join(found.cmdline())
                if TITLES[self.where] in title and found.pid not in victims:
                    kill(found)
                    victims.add(found.pid)
                    return True
        return False

    def finish(self):
        process = self.start()
        assert process.wait(timeout=600) == 0, self.log.read_text()

    def check(self, kills):
        """What is promised."""
        expected = expectations(self.corpus)
        for variant in VARIANTS:
            parts = sorted(self.corpus.glob(f"tables/caption.{variant}/*/*.parquet"))
            rows = pa.concat_tables([pq.read_table(part) for part in parts]).to_pylist()
            found = Counter((row["shard"], row["row"]) for row in rows)
            assert found == dict.fromkeys(expected, 1), "each is there once"
            same = [
                row["caption"] == said(expected[row["shard"], row["row"]], PROMPTS[variant])
                for row in rows
            ]
            print(f"caption.{variant}: {sum(same) / len(same):.2%} of {len(same)} texts equal")
            assert all(same), "a text is another picture's"
        asked = Counter(self.keys())
        assert set(asked) == {f"{s}/{r}/{v}" for s, r in expected for v in VARIANTS}
        again = asked.total() - len(asked)
        allowed = kills * self.window
        print(f"{kills} kills: {again} of {len(asked)} asked again, allowed {allowed}")
        assert again <= allowed


class ServerRun(Run):
    """The stage with its own engine, which asks a server that is killed."""

    window = IN_FLIGHT  # what the server is working on

    def __init__(self, curated, folder):
        super().__init__(curated, folder, WITHOUT_RAY)
        self.server = ServerProcess(folder)
        # A server is not told of which record a picture is.
        self.known = {
            said(pixels, PROMPTS[variant]): f"{shard}/{row}/{variant}"
            for (shard, row), pixels in expectations(self.corpus).items()
            for variant in VARIANTS
        }
        assert len(self.known) == PICTURES * len(VARIANTS), "no two pictures are the same"

    def start(self):
        servers = {"urls": [self.server.url], "concurrency": IN_FLIGHT, "backoff_s": 0.1}
        asks = ("caption.engine=server", f"caption.servers={json.dumps(servers)}")
        words = ("caption", f"corpus={self.corpus}", *SETTINGS, *self.where, *asks)
        return start(*words, log=self.log)

    def keys(self):
        """Shard, row and variant of each request that reached the server so far."""
        return [self.known[line] for line in self.asked.read_text().splitlines()]

    def kill_server(self, moments, draw):
        """Kills the server at each moment, and starts it again; the command goes on to its end."""
        self.server.start()
        try:
            self.server.wait()
            process = self.start()
            for after in moments:
                self.wait_for_asked(after, process)
                self.server.kill()
                time.sleep(draw.uniform(0, LONGEST_PAUSE_S))
                self.server.start()
            assert process.wait(timeout=600) == 0, self.log.read_text()
        finally:
            self.server.kill()


def expectations(folder):
    """The pixels that the model is given of each picture that has captions."""
    corpus, found = Corpus(str(folder)), {}
    for shard in corpus.shards():
        records = corpus.records.read(shard)
        tar = next(iter(corpus.records.metadata(shard)))
        rows = records.column("row").to_pylist()
        images = read_images(corpus.store, shard, records, int(tar.get("tar_size", 0)))
        for row, image in zip(rows, images, strict=True):
            found[shard, row] = open_picture(image).rgb(max_side=1024)
    return found


def drawing():
    """Draws from a seed that is printed."""
    seed = random.SystemRandom().randrange(1 << 16)
    print(f"seed {seed}")
    return random.Random(seed)


def moments(count, most, draw):
    """Numbers of requests, rising, some way apart."""
    part = most // (count + 1)
    return [(i + 1) * part + draw.randint(0, part // 2) for i in range(count)]


@pytest.mark.parametrize(
    ("where", "victim"), [(ON_RAY, "actor"), (WITHOUT_RAY, "worker")], ids=["actor", "worker"]
)
def test_what_is_promised_after_kills_of_what_holds_the_model(curated, tmp_path, where, victim):
    run = Run(curated, tmp_path, where)
    run.kill_workers(moments(KILLS_OF[victim], PICTURES, drawing()))
    run.check(KILLS_OF[victim])


def test_what_is_promised_after_kills_of_the_driver(curated, tmp_path):
    run = Run(curated, tmp_path, WITHOUT_RAY)
    for number, after in enumerate(moments(KILLS_OF["driver"], PICTURES, drawing())):
        # One whose driver is gone takes Ray up to a minute to end.
        run.where = ON_RAY if number == 0 and KILLS > 6 else WITHOUT_RAY
        run.kill_driver(after)
    run.finish()
    run.check(KILLS_OF["driver"])


def test_what_is_promised_after_kills_of_the_server(curated, tmp_path):
    run, draw = ServerRun(curated, tmp_path), drawing()
    run.kill_server(moments(KILLS_OF["server"], len(run.known), draw), draw)
    run.check(KILLS_OF["server"])
