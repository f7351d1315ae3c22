"""How fast other loaders read the same pictures. Needs nothing of this package.

    PYTHON scripts/sets_reading/peers.py FOLDER WORKERS SIDE SECONDS    # prints JSON

FOLDER holds `tars/*.tar` (webdataset: `.jpg`, `.txt`); MDS and LitData copies are made beside it on
the first call. What is not installed is left out. Each decodes with PIL to uint8 (SIDE, SIDE, 3),
cutting the middle of an original and scaling it, in batches of 32, by torch's DataLoader.
"""

import io
import json
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

BATCH = 32


class Decode:
    """Bytes to pixels, as one writes it with PIL."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, data: bytes) -> Any:
        """Returns uint8 (side, side, 3)."""
        image = Image.open(io.BytesIO(data)).convert("RGB")
        if image.size != (self.side, self.side):
            short = min(image.size)
            left, top = ((length - short) // 2 for length in image.size)
            box = (left, top, left + short, top + short)
            image = image.resize((self.side, self.side), Image.Resampling.LANCZOS, box=box)
        return np.asarray(image)


def samples(folder: Path) -> Iterator[tuple[bytes, str]]:
    """Pictures and captions of the tars."""
    for path in sorted((folder / "tars").glob("*.tar")):
        with tarfile.open(path) as tar:
            found: dict[str, bytes] = {}
            for member in tar:
                file = tar.extractfile(member)
                found[member.name.rpartition(".")[2]] = file.read() if file else b""
                if len(found) == 2:
                    yield found["jpg"], found["txt"].decode()
                    found = {}


def rate(batches: Iterable[Any], seconds: float) -> float:
    """Pictures a second, after the first ten batches."""
    count, start = -10, 0.0
    for _ in batches:
        count += 1
        if count == 0:
            start = time.perf_counter()
        if count > 0 and time.perf_counter() - start > seconds:
            break
    return max(0, count) * BATCH / (time.perf_counter() - start) if start else 0.0


class _Decoded:
    def __init__(self, dataset: Any, decode: Decode) -> None:
        self.dataset, self.decode = dataset, decode

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: int) -> Any:
        sample = self.dataset[place]
        return self.decode(bytes(sample["image"])), sample["caption"]


def webdataset(folder: Path, workers: int, decode: Decode) -> Any:
    """webdataset, as its README says."""
    import webdataset as wds
    from torch.utils.data import DataLoader

    urls = sorted(map(str, (folder / "tars").glob("*.tar")))
    found = wds.WebDataset(urls * 100, shardshuffle=100).shuffle(1000).to_tuple("jpg", "txt")
    found = found.map_tuple(decode, lambda text: text.decode()).batched(BATCH)
    return DataLoader(found, batch_size=None, num_workers=workers)


def mds(folder: Path, workers: int, decode: Decode) -> Any:
    """MosaicML's StreamingDataset of a local copy."""
    from streaming import MDSWriter, StreamingDataset
    from torch.utils.data import DataLoader

    out = folder / "mds"
    if not out.exists():
        with MDSWriter(out=str(out), columns={"image": "bytes", "caption": "str"}) as writer:
            for image, caption in samples(folder):
                writer.write({"image": image, "caption": caption})
    found = StreamingDataset(local=str(out), shuffle=True, batch_size=BATCH)
    return DataLoader(_Decoded(found, decode), batch_size=BATCH, num_workers=workers)  # type: ignore[arg-type]


def litdata(folder: Path, workers: int, decode: Decode) -> Any:
    """LitData's StreamingDataset of a local copy."""
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming.cache import Cache

    out = folder / "litdata"
    if not out.exists():
        out.mkdir()
        cache = Cache(input_dir=str(out), chunk_bytes="64MB")
        for number, (image, caption) in enumerate(samples(folder)):
            cache[number] = {"image": image, "caption": caption}
        cache.done()
        cache.merge()

    class Decoded(StreamingDataset):  # type: ignore[misc]
        def __getitem__(self, index: Any) -> Any:
            sample = super().__getitem__(index)
            return decode(bytes(sample["image"])), sample["caption"]

    found = Decoded(input_dir=str(out), shuffle=True)
    return StreamingDataLoader(found, batch_size=BATCH, num_workers=workers)


def main() -> None:
    """Measures each that is installed."""
    folder, workers, side, seconds = Path(sys.argv[1]), *map(int, sys.argv[2:4]), float(sys.argv[4])
    found: dict[str, float | str] = {}
    for loader in (webdataset, mds, litdata):
        try:
            found[loader.__name__] = rate(loader(folder, workers, Decode(side)), seconds)
        except ImportError as error:
            found[loader.__name__] = f"not measured: {error}"
    print(json.dumps(found))


if __name__ == "__main__":
    main()
