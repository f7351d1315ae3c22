"""Config hashes name tables: another hash, and a corpus would be measured anew.

A hash here changes only together with a `version`, a model or a setting that changes values.
"""

from pathlib import Path

import pytest

from nucleus_data.line.recipe import load_recipe
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
HASHES = {
    "nano/recipe": {
        "caption.long": "9c8c08cdceb8aef5",
        "caption.short": "89437e4513523b5e",
        "embed.heads": "5e8d81c751cb1717",
        "embed.image": "8571ba8d7c8f4d7a",
        "embed.match": "6801317ac22f53c7",
        "embed.text": "4eeac24f3208443a",
        "inspect.colour": "91bbda1aa412026d",
        "inspect.compression": "2f68456617ad0567",
        "inspect.detail": "159d34ae7b4b09e6",
        "inspect.file": "7384fde9d0acab38",
        "inspect.hash": "bda108199808bdd6",
        "inspect.layout": "cb27985a63374acc",
        "inspect.resampling": "a24c12d5a3714f8a",
        "inspect.sharpness": "a27cbe86f36a084b",
        "inspect.tone": "3cf24ae7707ac19f",
        "records": "2ecf2b3564200147",
    },
    "nano/demo": {
        "caption.long": "9c8c08cdceb8aef5",
        "caption.short": "89437e4513523b5e",
        "embed.heads": "5e8d81c751cb1717",
        "embed.image": "8571ba8d7c8f4d7a",
        "embed.match": "6801317ac22f53c7",
        "embed.text": "4eeac24f3208443a",
        "inspect.colour": "91bbda1aa412026d",
        "inspect.compression": "2f68456617ad0567",
        "inspect.detail": "159d34ae7b4b09e6",
        "inspect.file": "7384fde9d0acab38",
        "inspect.hash": "bda108199808bdd6",
        "inspect.layout": "cb27985a63374acc",
        "inspect.resampling": "a24c12d5a3714f8a",
        "inspect.sharpness": "a27cbe86f36a084b",
        "inspect.tone": "3cf24ae7707ac19f",
        "records": "2ecf2b3564200147",
    },
    "nano/learning": {
        "caption.long": "9c8c08cdceb8aef5",
        "caption.short": "89437e4513523b5e",
        "inspect.colour": "91bbda1aa412026d",
        "inspect.compression": "2f68456617ad0567",
        "inspect.detail": "159d34ae7b4b09e6",
        "inspect.file": "7384fde9d0acab38",
        "inspect.hash": "bda108199808bdd6",
        "inspect.layout": "cb27985a63374acc",
        "inspect.resampling": "a24c12d5a3714f8a",
        "inspect.sharpness": "a27cbe86f36a084b",
        "inspect.tone": "3cf24ae7707ac19f",
        "records": "2ecf2b3564200147",
    },
    "full/recipe": {
        "caption.long": "d5157fbb9cd30022",
        "caption.medium": "779920617979d7a7",
        "caption.short": "3a1dcc0b7cd0dc44",
        "caption.very_short": "afc690c868221f59",
        "embed.image": "7d2e0a5ac374c433",
        "embed.match": "14062788bdbeb7b8",
        "embed.text": "8fca7e7707b4db42",
        "inspect.colour": "91bbda1aa412026d",
        "inspect.compression": "2f68456617ad0567",
        "inspect.detail": "159d34ae7b4b09e6",
        "inspect.file": "7384fde9d0acab38",
        "inspect.hash": "bda108199808bdd6",
        "inspect.layout": "cb27985a63374acc",
        "inspect.resampling": "a24c12d5a3714f8a",
        "inspect.sharpness": "a27cbe86f36a084b",
        "inspect.tone": "3cf24ae7707ac19f",
        "records": "2ecf2b3564200147",
    },
}


@pytest.mark.parametrize("config", HASHES)
def test_the_tables_of_a_recipe_keep_their_names(config):
    assert load_recipe(CONFIGS / f"{config}.yaml").pins().tables == HASHES[config]


@pytest.mark.slow
def test_corpus_wide_tables_and_sets_keep_their_names(tmp_path):
    made = small_corpus(tmp_path / "c", shards=0)
    for shard in range(2):
        images = {f"{shard}-{i}.png": picture(10 * shard + i) for i in range(3)}
        write_shard(made, shard, images, dict.fromkeys(images, "a picture"))
    run = curated.run(made.uri, "curate", "shard.captions=[source]")
    run.do("inspect", "dedup", "select", "shard")
    assert run.tables["dedup"] == "c7137a793313e11c"
    assert run.tables["selection"] == "d4b07d8d38c906f8"
    assert run.training_set == "sets/nano/49a67d4ffc79d7bf"
