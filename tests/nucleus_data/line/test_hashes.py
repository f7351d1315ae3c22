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
        "caption.long": "edf6506800d9920d",
        "caption.short": "579fd3bb9e91de48",
        "embed.heads": "9777a5b347015907",
        "embed.image": "87b47af14ecaa41c",
        "embed.match": "23db96e6faf0a8ef",
        "embed.text": "cabbc92a577b1a7d",
        "inspect.colour": "3c783f2c0d0fe6bf",
        "inspect.compression": "00997495837844aa",
        "inspect.detail": "c5eb60fbd0ffc3c4",
        "inspect.file": "5016c798c6f0e75f",
        "inspect.hash": "3200391aaf518c14",
        "inspect.layout": "92a78d34da2a634e",
        "inspect.resampling": "3553746bdbb6fa9a",
        "inspect.sharpness": "b56b9492b9ac1c9b",
        "inspect.tone": "9a8535a5d6638148",
        "records": "2ecf2b3564200147",
    },
    "nano/demo": {
        "caption.long": "edf6506800d9920d",
        "caption.short": "579fd3bb9e91de48",
        "embed.heads": "9777a5b347015907",
        "embed.image": "87b47af14ecaa41c",
        "embed.match": "23db96e6faf0a8ef",
        "embed.text": "cabbc92a577b1a7d",
        "inspect.colour": "3c783f2c0d0fe6bf",
        "inspect.compression": "00997495837844aa",
        "inspect.detail": "c5eb60fbd0ffc3c4",
        "inspect.file": "5016c798c6f0e75f",
        "inspect.hash": "3200391aaf518c14",
        "inspect.layout": "92a78d34da2a634e",
        "inspect.resampling": "3553746bdbb6fa9a",
        "inspect.sharpness": "b56b9492b9ac1c9b",
        "inspect.tone": "9a8535a5d6638148",
        "records": "2ecf2b3564200147",
    },
    "nano/learning": {
        "caption.long": "edf6506800d9920d",
        "caption.short": "579fd3bb9e91de48",
        "inspect.colour": "3c783f2c0d0fe6bf",
        "inspect.compression": "00997495837844aa",
        "inspect.detail": "c5eb60fbd0ffc3c4",
        "inspect.file": "5016c798c6f0e75f",
        "inspect.hash": "3200391aaf518c14",
        "inspect.layout": "92a78d34da2a634e",
        "inspect.resampling": "3553746bdbb6fa9a",
        "inspect.sharpness": "b56b9492b9ac1c9b",
        "inspect.tone": "9a8535a5d6638148",
        "records": "2ecf2b3564200147",
    },
    "full/recipe": {
        "caption.long": "ce4c4698b1df67f2",
        "caption.medium": "bc8dbe3fa11fae42",
        "caption.short": "1cd0a5e517be5718",
        "caption.very_short": "6c47475701837d55",
        "embed.image": "eb469da1c6221bdd",
        "embed.match": "f5cf60c623f51df9",
        "embed.text": "8fca7e7707b4db42",
        "inspect.colour": "3c783f2c0d0fe6bf",
        "inspect.compression": "00997495837844aa",
        "inspect.detail": "c5eb60fbd0ffc3c4",
        "inspect.file": "5016c798c6f0e75f",
        "inspect.hash": "3200391aaf518c14",
        "inspect.layout": "92a78d34da2a634e",
        "inspect.resampling": "3553746bdbb6fa9a",
        "inspect.sharpness": "b56b9492b9ac1c9b",
        "inspect.tone": "9a8535a5d6638148",
        "records": "2ecf2b3564200147",
    },
}


@pytest.mark.parametrize("config", HASHES)
def test_the_tables_of_a_recipe_keep_their_names(config):
    assert load_recipe(CONFIGS / f"{config}.yaml").pins().tables == HASHES[config]


def test_corpus_wide_tables_and_sets_keep_their_names(tmp_path):
    made = small_corpus(tmp_path / "c", shards=0)
    for shard in range(2):
        images = {f"{shard}-{i}.png": picture(10 * shard + i) for i in range(3)}
        write_shard(made, shard, images, dict.fromkeys(images, "a picture"))
    run = curated.run(made.uri, "curate", "shard.captions=[source]")
    run.do("inspect", "dedup", "select", "shard")
    assert run.tables["dedup"] == "b3b8653e034eb9dc"
    assert run.tables["selection"] == "4b1f6f12bdb93307"
    assert run.training_set == "sets/nano/7048aac1b4f2d741"
