"""Questions to a captioner's engine, and their answers."""

import time

import numpy as np

from nucleus_data.engines.captioner import Ask, Sampling
from nucleus_data.engines.find import ModelReference

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
ELSEWHERE = ModelReference("org/model", "org/model", "main", local=False)


def ask(key, question="Describe this.", sampling=None, **more):
    return Ask(key, question, sampling or Sampling(32), **more)


def caption(engine, *asks, picture=PICTURE):
    """All answers by key; each comes once."""
    prepared = engine.prepare(picture, asks)
    engine.submit(prepared)
    done = [*prepared.failed, *drained(engine)]
    assert sorted(one.key for one in done) == sorted(one.key for one in asks)
    return {one.key: one for one in done}


def drained(engine, within_s=20):
    done, end = [], time.monotonic() + within_s
    while engine.pending():
        assert time.monotonic() < end, "it never came back"
        done += engine.step()
    return done
