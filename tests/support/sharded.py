"""Training sets of a small corpus, and what is in them."""

import hashlib
import math
import tarfile
from pathlib import Path

import pyarrow.parquet as pq

from nucleus_data.corpus.store import Store
from nucleus_data.sets.layout import SetFolder
from tests.support import curated

OVERRIDES = (
    "select.rules={small: 'least(width, height) < 40'}",
    "shard.resolutions=[64, 128]",
    "shard.multiple=8",
    "shard.samples_per_tar=3",
)
SIZES = [(96, 64), (64, 96), (64, 64), (160, 90), (200, 200), (130, 128), (90, 160), (80, 60)]


def shard(corpus, *overrides, said=None):
    """Makes the set; returns its folder, relative and as a path."""
    run = curated.run(corpus.uri, "shard", *OVERRIDES, *overrides, said=said)
    run.do("shard")
    return run, corpus.store.path(run.training_set)


def manifest(folder):
    """A set's manifest, one dictionary a tar."""
    return pq.read_table(f"{folder}/manifest.parquet").to_pylist()


def samples(folder, entry):
    """id -> member suffix -> bytes, in the tar's order, by plain tarfile."""
    found = {}
    with tarfile.open(f"{folder}/{entry['path']}") as tar:
        for member in tar:
            key, suffix = member.name.split(".")
            found.setdefault(key, {})[suffix] = tar.extractfile(member).read()
    return found


def captions(folder, name=None):
    """id -> source -> caption, of an edition of a set."""
    made = SetFolder(Store(str(folder)))
    rows = [
        row for tar in made.manifest() for row in made.edition(name).captions(tar.path).to_pylist()
    ]
    return {r["id"]: dict(zip(r["caption_sources"], r["captions"], strict=True)) for r in rows}


def left_out(folder):
    """(id, resolution) -> reason."""
    rows = SetFolder(Store(str(folder))).left_out().to_pylist()
    return {(row["id"], row["resolution"]): row["reason"] for row in rows}


def nearest(width, height, sizes):
    """The bucket whose aspect ratio is nearest in log space, by the definition.

    Args:
        width, height: Of the picture.
        sizes: Bucket -> target size.
    """
    ratio = math.log(width / height)
    return min(sizes, key=lambda a: abs(math.log(sizes[a][0] / sizes[a][1]) - ratio))


def content_of(folder):
    """Relative path -> SHA-256 of every file below a folder."""
    files = made_files(folder)
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def made_files(folder):
    """Relative path -> path of every file below a folder."""
    root = Path(folder)
    return {str(p.relative_to(root)): p for p in root.rglob("*") if p.is_file()}
