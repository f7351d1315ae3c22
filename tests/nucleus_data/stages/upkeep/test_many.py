"""A hundred of a hundred thousand: only the tars that hold them are rewritten."""

import hashlib

import pyarrow as pa
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tar_names import tar_name
from nucleus_data.hashing import record_id
from nucleus_data.sets.layout import LEFT_OUT_SCHEMA, SetFolder
from nucleus_data.stages.dedup.settings import DedupSettings
from nucleus_data.stages.upkeep.request import Request
from nucleus_data.stages.upkeep.takedown import take_down
from nucleus_data.world.corpora import write_shard
from tests.support import curated
from tests.support.sets import Made, add_edition, add_tar
from tests.support.upkept import PATH, ids_of

SHARDS, IMAGES, A_TAR = 200, 500, 1000
SIZE = (16, 16)


def key(shard, row):
    return f"{shard}/{row}.jpg"


def ident(shard, row):
    return record_id("many", key(shard, row))


@pytest.fixture
def many(tmp_path):
    """100,000 records of a few bytes, and a set of all of them."""
    corpus = Corpus(str(tmp_path / "c"), create=True)
    places = [(shard, row) for shard in range(SHARDS) for row in range(IMAGES)]
    for shard in range(SHARDS):
        mine = {key(shard, row): f"{shard}-{row}".encode() for row in range(IMAGES)}
        write_shard(corpus, shard, mine, source="many")
    folder, rows = SetFolder(corpus.store, PATH), []
    # A set's order is not that of the corpus.
    places.sort(key=lambda place: hashlib.md5(repr(place).encode()).digest())
    for number, start in enumerate(range(0, len(places), A_TAR)):
        samples = [
            Made(shard * IMAGES + row, b"stored", SIZE, key=ident(shard, row))
            for shard, row in places[start : start + A_TAR]
        ]
        rows.append(add_tar(folder, f"64/1x1/{number:06d}.tar", 64, "1x1", SIZE, samples))
    add_edition(folder, rows)
    folder.write_left_out(LEFT_OUT_SCHEMA.empty_table())
    folder.publish(rows)
    return corpus, folder, places


def stamps(corpus, folder):
    """Path of each tar -> what tells that it was written: its inode."""
    names = [tar_name(n) for n in range(SHARDS)]
    names += [folder.name(tar.path) for tar in folder.manifest()]
    return {name: corpus.store.fs.info(corpus.store.path(name))["ino"] for name in names}


@pytest.mark.slow
def test_a_hundred_of_a_hundred_thousand(many):
    corpus, folder, places = many
    # Of ten image shards, and of ten tars of the set.
    chosen = [p for p in places[: 10 * A_TAR] if p[0] < 10][:100]
    assert len(chosen) == 100
    before = stamps(corpus, folder)
    run = curated.run(corpus.uri, "takedown")
    assert take_down(run, Request.of([ident(*p) for p in chosen]), DedupSettings())
    after = stamps(corpus, folder)
    written = {name for name, ino in after.items() if before.get(name) != ino}
    shards = {tar_name(shard) for shard, _ in chosen}
    numbers = {places.index(place) // A_TAR for place in chosen}
    assert written == shards | {folder.name(f"64/1x1/{n:06d}-1.tar") for n in numbers}
    assert len(written) <= 20
    assert len(after) == len(before)
    assert len(ids_of(folder)) == 99_900
    gone = pa.array([ident(*p) for p in chosen])
    left = corpus.table("records").filter("error IS NULL").aggregate("count(*)").fetchall()
    assert left == [(99_900,)]
    assert not set(gone.to_pylist()) & set(ids_of(folder))
