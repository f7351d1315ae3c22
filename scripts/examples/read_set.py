"""A training set read by plain webdataset, its captions joined: any trainer can do it so.

    python scripts/examples/read_set.py CORPUS/sets/NAME/HASH

The manifest names the tars, a resolution and an aspect bucket each. A sample is the picture, cut
and scaled for its bucket, and a `.json` that says where it is from. Captions lie beside each tar,
in its order: an edition is a folder below `captions/`, and new captions are another edition.
"""

import json
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import webdataset as wds

SHOWN = 5


def samples(folder: Path, tar: str, edition: str) -> Iterator[dict[str, Any]]:
    """A tar's samples, each with its captions."""
    beside = folder / "captions" / edition / tar.replace(".tar", ".parquet")
    captions = iter(pq.read_table(beside).to_pylist())
    # No decoder: webdataset's own would unpickle a `.pyd`. A trainer decodes the picture itself.
    for sample in wds.WebDataset(str(folder / tar), shardshuffle=False, empty_check=False):
        said = next(captions)
        assert said["id"] == sample["__key__"], "captions are in the tar's order"
        yield {**sample, "captions": said["captions"]}


def main(folder: str, resolution: int | None = None) -> None:
    """Prints the first samples of the smallest resolution, or of the one given, and counts all."""
    root = Path(folder)
    manifest = pq.read_table(root / "manifest.parquet").to_pylist()
    edition = min(path.parent.name for path in root.glob("captions/*/edition.json"))
    side = resolution or min(tar["resolution"] for tar in manifest)
    tars = [tar["path"] for tar in manifest if tar["resolution"] == side]
    number = 0
    for number, sample in enumerate(chain(*(samples(root, tar, edition) for tar in tars)), 1):
        if number <= SHOWN:
            facts = json.loads(sample["json"])
            size = f"{facts['width']} x {facts['height']} of {facts['key']}"
            print(f"{sample['__key__']}: {size}: {' | '.join(sample['captions']) or 'no caption'}")
    print(f"{number} samples at resolution {side}, captions of edition {edition}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
