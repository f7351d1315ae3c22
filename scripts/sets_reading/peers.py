"""How fast other loaders read the same pictures. Needs nothing of this package.

    PYTHON scripts/sets_reading/peers.py FOLDER WORKERS SIDE SECONDS NAME    # prints JSON

NAME is webdataset, mds or litdata, in an environment that `scripts/get_readers` makes. FOLDER holds
`tars/*.tar` (webdataset: `.jpg`, `.txt`); MDS and LitData copies are made beside it on the first
call. Each decodes with PIL to uint8 (SIDE, SIDE, 3), cutting the middle of an original and scaling
it, in batches of 32, by torch's DataLoader, and begins anew where its samples end.
"""

import io
import json
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

BATCH, SKIPPED = 32, 10
EPOCHS = 1000


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
        return np.array(image)  # torch warns of what it may not write to


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


def rate(epoch: Iterable[Any], seconds: float) -> float:
    """Pictures a second, after the first ten batches."""
    count, start = -SKIPPED, 0.0
    for _ in chain.from_iterable(repeat(epoch, EPOCHS)):
        count += 1
        if count == 0:
            start = time.perf_counter()
        if count > 0 and time.perf_counter() - start > seconds:
            return count * BATCH / (time.perf_counter() - start)
    raise ValueError(f"{EPOCHS} epochs have {count + SKIPPED} batches, which is too few")


class _Decoded:
    """A data set's samples, many times over: to begin anew would start the workers again."""

    def __init__(self, dataset: Any, decode: Decode) -> None:
        self.dataset, self.decode = dataset, decode

    def __len__(self) -> int:
        return EPOCHS * len(self.dataset)

    def __getitem__(self, place: int) -> Any:
        sample = self.dataset[place % len(self.dataset)]
        return self.decode(bytes(sample["image"])), sample["caption"]


def webdataset(folder: Path, workers: int, decode: Decode) -> Any:
    """webdataset, as its README says."""
    import webdataset as wds
    from torch.utils.data import DataLoader

    urls = sorted(map(str, (folder / "tars").glob("*.tar")))
    found = wds.WebDataset(urls * EPOCHS, shardshuffle=100).shuffle(1000).to_tuple("jpg", "txt")
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
    return StreamingDataLoader(
        found, batch_size=BATCH, num_workers=workers, persistent_workers=workers > 0
    )


PEERS = {one.__name__: one for one in (webdataset, mds, litdata)}


def main() -> None:
    """Measures one."""
    folder, workers, side, seconds = Path(sys.argv[1]), *map(int, sys.argv[2:4]), float(sys.argv[4])
    loader = PEERS[sys.argv[5]](folder, workers, Decode(side))
    print(json.dumps(rate(loader, seconds)), flush=True)


if __name__ == "__main__":
    main()
