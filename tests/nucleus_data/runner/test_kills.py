"""Kill -9 of driver, worker and actor, in the middle of inspect, embed, caption and shard.

Each case kills twice (captions once, as vLLM starts slowly), at moments drawn from a printed
seed, each between the first and the last commit. What is there in the end must be byte-equal to an
uninterrupted run, which was made without Ray; captions hold every row once, with the same key,
prompt and seed, and at least 99 % of the greedy texts equal.
"""

import contextlib
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.captions.unchecked import OVERRIDE
from tests.support.commands import (
    assert_agents_ended,
    assert_ended,
    family,
    kill,
    nucleus,
    start,
    tree,
    wait_for,
)
from tests.support.worlds import write_pictures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

KILLS = {"inspect": 2, "embed": 2, "caption": 1, "shard": 2}
VICTIMS = ("driver", "worker", "actor")
PICTURES = 60
SIGNALS = "file,tone,detail,hash,colour,sharpness,compression,layout,resampling"
SLOW = f"inspect.signals=[{SIGNALS},tests.support.slow_signal]"
SMALL = ("ingest.images_per_shard=3", "shard.samples_per_tar=1", "shard.captions=[source]")
WITHOUT_RAY = ("ray.local.items=1000", "ray.local.rows=100000")
# So short that they are cut, which no check must mind.
CAPTION = (
    "caption.variants.short.max_tokens=12",
    "caption.variants.long.max_tokens=16",
    # So that captions are committed one after the other, and a kill finds some undone.
    "caption.max_in_flight=4",
    "caption.probes=0",
    OVERRIDE,
)


@pytest.fixture(scope="module")
def stages(tmp_path_factory) -> Iterator[dict[str, Path]]:
    """Corpora as they are before each stage, and after it without any kill."""
    root = tmp_path_factory.mktemp("kills")
    log = root / "log.txt"
    write_pictures(root / "pictures", PICTURES, seed=5)
    made = {}
    corpus = root / "corpus"

    def keep(name: str) -> None:
        made[name] = root / name
        shutil.copytree(corpus, made[name])

    def done(*words: str) -> None:
        nucleus(*words, *SMALL, *WITHOUT_RAY, log=log)

    done("ingest", f"corpus={corpus}", f"ingest.source={root}/pictures")
    keep("before inspect")
    done("inspect", f"corpus={corpus}", SLOW)
    keep("after inspect")
    done("curate", f"corpus={corpus}", SLOW, "embed.model=null")
    keep("before embed")
    done("embed", f"corpus={corpus}", SLOW)
    keep("after embed")
    keep("before shard")
    keep("before caption")
    done("shard", f"corpus={corpus}", SLOW)
    keep("after shard")
    shutil.rmtree(corpus)
    shutil.copytree(made["before caption"], corpus)
    done("caption", f"corpus={corpus}", SLOW, *CAPTION)
    keep("after caption")
    yield made
    assert_agents_ended()


class Case:
    """A stage on a copy of its corpus, killed at drawn moments."""

    def __init__(self, stages, stage: str, options: tuple[str, ...], tmp_path: Path) -> None:
        self.expected = stages[f"after {stage}"]
        self.corpus = tmp_path / "corpus"
        shutil.copytree(stages[f"before {stage}"], self.corpus)
        self.log = tmp_path / "log.txt"
        self.command = (stage, f"corpus={self.corpus}", SLOW, *SMALL, *options)
        self.pattern = {
            "inspect": "tables/inspect.slow/*/*.parquet",
            "embed": "tables/embed.image/*/*.parquet",
            "caption": "tables/caption.long/*/*.parquet",
            "shard": "sets/*/*/64/*/*.tar",
        }[stage]
        self.last = len(list(self.expected.glob(self.pattern)))
        self.kills = KILLS[stage]

    def commits(self) -> int:
        return len(list(self.corpus.glob(self.pattern)))

    def moments(self, seed: int) -> list[int]:
        """Numbers of commits, rising, after each of which one kill comes."""
        print(f"seed {seed}, {self.last} commits")
        draw = random.Random(seed)
        part = max(1, (self.last - 4) // self.kills)
        return [
            draw.randint(1 + i * part, max(1 + i * part, (i + 1) * part - 1))
            for i in range(self.kills)
        ]

    def kill_driver(self, moment: int) -> None:
        process = start(*self.command, log=self.log)
        wait_for(lambda: self.commits() >= moment, process, self.log)
        everyone = family(process)
        kill(everyone[0])
        process.wait()
        assert_ended(everyone[1:])
        assert 0 < self.commits() < self.last, "the kill came after the last commit"

    def kill_workers(self, name: str, moments: list[int]) -> None:
        process = start(*self.command, log=self.log)
        victims: set[int] = set()
        for moment in moments:
            wait_for(lambda moment=moment: self.commits() >= moment, process, self.log)
            killed = []

            def one(killed=killed) -> bool:
                for found in family(process):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        title = " ".join(found.cmdline())
                        if title.startswith(f"ray::{name}") and found.pid not in victims:
                            kill(found)
                            killed.append(found.pid)
                            return True
                return False

            wait_for(one, process, self.log)
            victims.update(killed)
            assert 0 < self.commits() < self.last, "the kill came after the last commit"
        everyone = family(process)
        assert process.wait(timeout=900) == 0, self.log.read_text()
        assert_ended(everyone[1:])
        assert "worker deaths" in self.log.read_text()

    def finish(self) -> None:
        nucleus(*self.command, log=self.log)

    def assert_equal(self) -> None:
        for folder in ("tables", "sets", "images", "claims"):
            assert tree(self.corpus / folder) == tree(self.expected / folder)

    def assert_captions_equal(self) -> None:
        for name in ("caption.short", "caption.long"):
            ours, theirs = (
                pa.concat_tables(
                    pq.read_table(file) for file in sorted(root.glob(f"tables/{name}/*/*.parquet"))
                ).sort_by([("shard", "ascending"), ("row", "ascending")])
                for root in (self.corpus, self.expected)
            )
            for column in ("shard", "row", "id", "prompt", "seed", "model", "revision"):
                assert ours.column(column).to_pylist() == theirs.column(column).to_pylist()
            texts = list(
                zip(
                    ours.column("caption").to_pylist(),
                    theirs.column("caption").to_pylist(),
                    strict=True,
                )
            )
            share = sum(a == b for a, b in texts) / len(texts)
            print(f"{name}: {share:.2%} of {len(texts)} greedy texts equal")
            assert share >= 0.99


# Each victim alone and beside another worker, and each stage with each victim that it has (more of
# captions in `stages/caption/test_kills.py`):
# training shards are written by tasks, so there is no actor to kill; embed runs as caption does.
CASES = [
    ("inspect", "driver", 2),
    ("inspect", "worker", 1),
    ("inspect", "actor", 2),
    ("caption", "driver", 1),
    ("caption", "actor", 1),
    ("shard", "driver", 1),
    ("shard", "worker", 2),
    ("embed", "actor", 2),
]


@pytest.mark.parametrize(("stage", "victim", "workers"), CASES)
def test_what_is_promised_after_a_kill(stages, tmp_path, stage, victim, workers):
    model = stage in ("embed", "caption")
    actors = workers if victim == "actor" or (victim == "driver" and model) else 0
    options = (
        f"resources.{stage}.workers={workers}",
        f"resources.{stage}.actors={actors}",
        *(CAPTION if stage == "caption" else ()),
    )
    case = Case(stages, stage, options, tmp_path)
    moments = case.moments(seed=hash_seed(stage, victim, workers))
    if victim == "driver":
        for moment in moments:
            case.kill_driver(moment)
        case.finish()
    else:
        case.kill_workers("StageActor" if actors else "_run_task", moments)
    case.assert_captions_equal() if stage == "caption" else case.assert_equal()


def hash_seed(stage: str, victim: str, workers: int) -> int:
    """A seed for each case, the same in every run."""
    return sum(map(ord, f"{stage} {victim} {workers}"))
