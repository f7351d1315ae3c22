"""Pictures of the world with their true captions, and training sets of them.

The sets are written by the tasks of the stage `shard`, from a corpus of one image shard whose
records are all kept. A record's id follows from its key alone: sets that share a key share an id,
whatever the picture and the caption are there.
"""

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.caption_sets import SOURCE, CaptionSet
from nucleus_data.corpus.tables import Table
from nucleus_data.sets.editions import CAPTIONS
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.shard import aligned
from nucleus_data.stages.shard.aligned import Alignment
from nucleus_data.stages.shard.edition import Composition, about
from nucleus_data.stages.shard.publish import PublishTask
from nucleus_data.stages.shard.settings import ShardSettings
from nucleus_data.stages.shard.write import TarTask
from nucleus_data.world.corpora import write_part, write_shard
from nucleus_data.world.painting import render
from nucleus_data.world.scenes import Scene, scene
from nucleus_data.world.words import captions
from scripts.bench_plan import FILE, SELECTION, TABLES, planned

SIDE, QUALITY = 64, 95
WORLD, REFERENCE_WORLD = 70_000, 71_000
LENGTH, SHORTER = "short", "very_short"
SET, EDITION = "sets/made/0", "e" * 16
SETTINGS = ShardSettings(
    name="made",
    resolutions=(SIDE,),
    aspects=("1x1",),
    multiple=8,
    format="original",
    captions=(SOURCE,),
)


@dataclass(frozen=True)
class Shown:
    """A picture of a pool, and all that is true of it.

    Attributes:
        key: Names its record.
        scene: What it shows.
    """

    key: str
    scene: Scene

    @cached_property
    def picture(self) -> Image.Image:
        """It, painted."""
        return render(self.scene, SIDE, SIDE)

    @property
    def caption(self) -> str:
        """Its true caption."""
        return captions(self.scene)[LENGTH]

    @cached_property
    def item(self) -> "Item":
        """It as a set has it."""
        return Item(self.key, encoded(self.picture), self.caption)


@dataclass(frozen=True)
class Item:
    """A record of a set: its key, its file and its caption."""

    key: str
    data: bytes
    caption: str


@cache
def pool(count: int, first: int = 0, world: int = WORLD) -> tuple[Shown, ...]:
    """Pictures of a world, from a number on."""
    return tuple(
        Shown(f"{world}-{n:06d}.jpg", scene(world, n)) for n in range(first, first + count)
    )


def encoded(picture: Image.Image, quality: int = QUALITY) -> bytes:
    """A picture as JPEG."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


def write_set(folder: Path, items: Sequence[Item]) -> Path:
    """Writes a training set, unless it is there; it is there whole or not at all.

    Args:
        folder: Of the corpus that holds it.
        items: Its records.

    Returns:
        The set's folder.
    """
    if folder.is_dir():
        return folder / SET
    part = folder.with_name(f".{folder.name}")
    shutil.rmtree(part, ignore_errors=True)
    corpus = Corpus(str(part), create=True)
    write_shard(
        corpus,
        0,
        {item.key: item.data for item in items},
        {item.key: item.caption for item in items},
        source="self-test",
    )
    read = corpus.records.read(0, ["shard", "row", "id"])
    assert read is not None
    rows = [{**row, "state": "kept", "width": SIDE, "height": SIDE} for row in read.to_pylist()]
    for name, schema in (("inspect.file", FILE), ("selection", SELECTION)):
        table = Table(corpus.store, name, TABLES[name])
        write_part(table, 0, pa.Table.from_pylist(rows, schema))
    _sharded(corpus)
    part.rename(folder)
    return folder / SET


def _sharded(corpus: Corpus) -> None:
    """Does what the stage `shard` does: plans, writes tars, publishes, and writes the captions."""
    planning = planned(corpus, SETTINGS, SET)
    tars = planning.totals().tars
    place: tuple[str, dict[str, Any], str] = (corpus.uri, {}, SET)
    for number in range(tars):
        TarTask(*place, SETTINGS).run(number)
    PublishTask(*place, tars, SETTINGS).run(0)
    sets = (CaptionSet(SOURCE),)
    edition = SetFolder(corpus.store, SET).new_edition(EDITION)
    whole = Alignment(
        *place, f"{CAPTIONS}/{EDITION}", Composition(sets, TABLES), planning.pieces, tars
    )
    counts: dict[str, int] = {}
    for phase in aligned.PHASES:
        one = whole.at(phase)
        for number in range(one.items):
            for name, count in one.run(number).extra.items():
                counts[name] = counts.get(name, 0) + count
    edition.publish(about(SOURCE, sets, counts))
