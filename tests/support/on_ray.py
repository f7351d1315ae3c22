"""The stage of `stages.py` on a real local Ray, and what it wrote."""

import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.hashing import config_hash
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.work import Item, Resources
from tests.support.stages import Length, Nothing

HASH = config_hash("length")
SLOW = pytest.mark.slow


def job(
    corpus: Corpus, retry=False, timeout=30.0, memory=8 << 30, sample=1.0, **settings
) -> StageJob:
    """A job of the stage `length`; settings say which image is poisoned and how."""
    stage = Length(Nothing(**settings))
    return StageJob(
        corpus.uri, {}, stage, {"length": HASH, "records": "x"}, sample, retry, timeout, memory
    )


def run(work: StageJob, shards: int, **resources):
    """Runs the job on the first shards."""
    from nucleus_data.runner.loop import Loop  # it imports Ray

    return Loop("length", work, Resources(**resources)).run(Item(n) for n in range(shards))


def values(corpus: Corpus, shards: int) -> list[list]:
    """Row, value and error of every row of the first shards."""
    table = Table(corpus.store, "length", HASH)
    found = []
    for shard in range(shards):
        part = table.read(shard)
        found.append(
            [] if part is None else [(r["row"], r["bytes"], r["error"]) for r in part.to_pylist()]
        )
    return found


ALL = [[(i, 80, None) for i in range(5)] for _ in range(3)]
