"""A small corpus whose sets are compared: pictures, copies of some, captions from upstream."""

from pathlib import Path

import yaml

from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import NANO, picture
from tests.support.model import colored_items, write_set

PICTURES, COPIES = 30, 4
SETTINGS = (
    "select.rules={}",
    "embed.model=null",
    "score.heads=null",
    "compare.members=0",
    "shard.captions=[source]",
    "shard.samples_per_tar=16",
)


def make(folder):
    """A corpus of pictures and copies that are one quality worse, with its duplicates found.

    Returns:
        The corpus; the file of the recipe; key -> key of a copy.
    """
    corpus = small_corpus(folder / "c", shards=0)
    images = {f"{i:02d}.png": picture(i) for i in range(PICTURES)}
    # Every second one is larger, so that a rule parts them.
    images |= {f"{i:02d}.png": picture(i, (192, 128)) for i in range(0, PICTURES, 2)}
    copies = {f"{i:02d}.png": f"copy-{i:02d}.jpg" for i in range(COPIES)}
    images |= {copies[f"{i:02d}.png"]: picture(i, form="JPEG", quality=90) for i in range(COPIES)}
    write_shard(corpus, 0, images, {key: f"picture {key}" for key in images})
    run = curated.run(corpus.uri, "curate", *SETTINGS)
    run.do("inspect", "dedup", "select", "shard")
    return corpus, copies


def write_recipe(path: Path, **sections):
    """A recipe's file: the laptop's, with `SETTINGS`, and other values of some keys.

    Args:
        path: Where.
        sections: Section -> key -> value.
    """
    content = {"base": str(NANO)}
    for setting in SETTINGS:
        key, _, value = setting.partition("=")
        section, _, name = key.partition(".")
        content.setdefault(section, {})[name] = yaml.safe_load(value)
    for section, values in sections.items():
        content.setdefault(section, {}).update(values)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def reference(folder):
    """A set outside of the corpus, of other pictures, as a yardstick."""
    return write_set(folder, colored_items(8, (64, 64), first=500))
