"""A training set read by plain webdataset: any trainer can, without this package's loader.

    python scripts/examples/read_set.py CORPUS/sets/NAME/HASH

The manifest names the tars, a resolution and an aspect bucket each. A sample is the original
picture, a `.json` with all captions, the crop and the target size, and a `.txt` with the best
caption.
"""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import webdataset as wds

SHOWN = 5


def main(folder: str, resolution: int | None = None) -> None:
    """Prints the first samples of the smallest resolution, or of the one given, and counts all."""
    manifest = pq.read_table(Path(folder) / "manifest.parquet").to_pylist()
    side = resolution or min(tar["resolution"] for tar in manifest)
    tars = [str(Path(folder) / tar["path"]) for tar in manifest if tar["resolution"] == side]
    # No decoder: webdataset's own would unpickle a `.pyd`. A trainer decodes the picture itself.
    dataset = wds.WebDataset(tars, shardshuffle=False, empty_check=False)
    number = 0
    for number, sample in enumerate(dataset, 1):
        if number > SHOWN:
            continue
        facts = json.loads(sample["json"])
        size = f"{facts['target_width']} x {facts['target_height']}"
        print(f"{sample['__key__']}: crop {facts['crop']} to {size}: {sample['txt'].decode()}")
    print(f"{number} samples at resolution {side}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
