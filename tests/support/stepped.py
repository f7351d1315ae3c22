"""A corpus of three shards with nothing measured, and the first stages of the line over it."""

import json

from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture


def three_shards(folder):
    """Three shards of two pictures with web captions, nothing measured."""
    made = small_corpus(folder, shards=0)
    for shard in range(3):
        images = {f"{shard}-{i}.png": picture(10 * shard + i) for i in range(2)}
        write_shard(made, shard, images, {key: f"picture {key}" for key in images})
    return made


BARE = "select.rules={}"


def curate(corpus, *overrides, **options):
    """Inspects, compares and selects without rules; returns the run and the states."""
    made = curated.run(corpus.uri, "curate", BARE, *overrides, **options)
    made.do("inspect", "dedup")
    return made, made.select()


def stage_lines(run):
    """What a run noted of its stages, as it is in the store."""
    text = run.corpus.store.read(run.path("stages.jsonl"))
    return [json.loads(line) for line in text.splitlines()]
