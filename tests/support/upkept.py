"""A corpus with one training set of its records, made up: for verify, takedown and gc.

corpus, folder = corpus_with_set(tmp_path)      # 2 shards of 5 records; a set of 3 tars
"""

import hashlib
from pathlib import Path

import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.hashing import record_id
from nucleus_data.sets.layout import LEFT_OUT_SCHEMA, SetFolder
from nucleus_data.world.corpora import write_shard
from tests.support.sets import Made, add_columns, add_edition, add_tar, jpeg

PATH = "sets/train/0123456789abcdef"
SIZE = (64, 64)


def key(shard, row):
    """A record's key; `add_tar` says the same in its samples' JSON."""
    return f"{10 * shard + row}.jpg"


def ident(shard, row):
    """The id of a record."""
    return record_id("made", key(shard, row))


def corpus_with_set(folder, shards=2, images=5, a_tar=4, side=SIZE):
    """Makes them.

    Args:
        folder: Where the corpus will be, as `c`.
        shards: How many image shards.
        images: How many records each has.
        a_tar: Samples in a tar at most.
        side: Width and height of the stored pictures.

    Returns:
        The corpus, and the set.
    """
    corpus = Corpus(str(Path(folder) / "c"), create=True)
    places = [(s, r) for s in range(shards) for r in range(images)]
    pictures = {(s, r): b"original" + jpeg(10 * s + r, side) for s, r in places}
    for shard in range(shards):
        mine = {key(s, r): pictures[s, r] for s, r in places if s == shard}
        write_shard(corpus, shard, mine, {name: f"web {name}" for name in mine}, source="made")
    made, rows = SetFolder(corpus.store, PATH), []
    for number, start in enumerate(range(0, len(places), a_tar)):
        samples = [
            Made(10 * s + r, pictures[s, r].removeprefix(b"original"), side, key=ident(s, r))
            for s, r in places[start : start + a_tar]
        ]
        rows.append(add_tar(made, f"64/1x1/{number:06d}.tar", 64, "1x1", side, samples))
    add_edition(made, rows)
    add_columns(made, rows)
    made.write_left_out(LEFT_OUT_SCHEMA.empty_table())
    made.publish(rows)
    return corpus, made


def digest(data):
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def ids_of(folder):
    """All ids of a set, by its indexes, in order."""
    parts = [folder.index(tar.path)["id"] for tar in folder.manifest()]
    return pa.chunked_array([c for part in parts for c in part.chunks], pa.string()).to_pylist()
