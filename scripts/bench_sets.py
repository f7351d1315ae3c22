"""Measures the writing of training sets, against webdataset's own writer and img2dataset.

    python scripts/bench_sets.py                          # some minutes on two idle cores
    python scripts/bench_sets.py --quick --json sets.json

Passing bytes through: originals that fit are copied unchanged from one tar to another. The peer
reads the same tar with webdataset and writes its samples with `webdataset.ShardWriter`; then it
hashes its output, as a set's manifest contains the hash.

Resizing: JPEGs of two megapixels to 512 pixels, with quality 95. The peer is img2dataset's own
resizer (its decoder, area interpolation and encoder) and its own writer, on the bytes that it would
have downloaded.

Both sides have two threads, and the same bytes in the page cache. Rounds alternate. The outputs are
compared before anything is timed.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import KEY_FIELDS, Table
from nucleus_data.pixels import open_picture
from nucleus_data.sets.layout import SetFolder
from nucleus_data.signals import file as file_signals
from nucleus_data.stages.shard.settings import ShardSettings
from nucleus_data.stages.shard.write import TarTask
from nucleus_data.world.corpora import write_part, write_shard
from nucleus_data.world.painting import render
from nucleus_data.world.scenes import scene
from scripts.bench_plan import SELECTION, TABLES, planned
from scripts.benchmark import Measure, measure, parser, publish

THREADS = 2
FILE = pa.schema([*KEY_FIELDS, *file_signals.group.schema])
QUALITY = 95
SIDE = 512
PHOTO = (1632, 1224)  # two megapixels
A_SHARD = 10_000
PASSED_GOAL, RESIZED_GOAL = ">= 1.3", ">= 1.5"


def photo(number: int, size: tuple[int, int]) -> bytes:
    """Makes a JPEG of a scene with noise, so that it is as large as that of a photograph."""
    width, height = size
    image = np.asarray(render(scene(7, number), width, height), np.int16)
    noise = np.random.default_rng(number).normal(0, 6, (height // 2, width // 2, 3))
    grain = np.repeat(np.repeat(noise, 2, 0), 2, 1)[:height, :width].astype(np.int16)
    stream = io.BytesIO()
    Image.fromarray(np.clip(image + grain, 0, 255).astype(np.uint8)).save(
        stream, "JPEG", quality=90
    )
    return stream.getvalue()


def corpus_of(folder: Path, count: int, size: tuple[int, int], kinds: int = 16) -> Corpus:
    """Makes a corpus of one shard whose records are all kept, and whose pictures repeat."""
    corpus = Corpus(str(folder), create=True)
    made = [photo(number, size) for number in range(kinds)]
    write_shard(corpus, 0, {f"{n}.jpg": made[n % kinds] for n in range(count)})
    rows = corpus.records.read(0, ["shard", "row", "id"])
    assert rows is not None
    facts = file_signals.measure(open_picture(made[0]), "0.jpg")
    files = [{**row, **facts, "state": "kept"} for row in rows.to_pylist()]
    for name, schema in (("inspect.file", FILE), ("selection", SELECTION)):
        table = pa.Table.from_pylist(files, schema)
        write_part(Table(corpus.store, name, TABLES[name]), 0, table)
    return corpus


def ours(corpus: Corpus, settings: ShardSettings, name: str) -> Callable[[], float]:
    """Makes a function that writes a set of one tar, and times the task without its planning."""

    def run() -> float:
        folder = f"sets/{name}/0"
        shutil.rmtree(corpus.store.path(folder), ignore_errors=True)
        tars = planned(corpus, settings, folder).totals().tars
        assert tars == 1, tars
        task = TarTask(corpus.uri, {}, folder, settings, THREADS)
        start = time.perf_counter()
        task.run(0)
        return time.perf_counter() - start

    return run


def samples(tar: Path) -> Iterator[dict[str, Any]]:
    """Yields the samples of an image shard, read by webdataset."""
    import webdataset as wds

    yield from wds.WebDataset(str(tar), shardshuffle=False, empty_check=False)


def shard_writer(corpus: Corpus, out: Path) -> Callable[[], float]:
    """Makes a function that times webdataset's writer, with a `.json` as ours, and SHA-256."""
    import webdataset as wds

    about = json.dumps(dict.fromkeys(("key", "url", "licence", "sha256", "source")))

    def run() -> float:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        tar = Path(corpus.store.path("images/000000.tar"))
        start = time.perf_counter()
        with wds.ShardWriter(f"{out}/%06d.tar", maxcount=1 << 40, maxsize=1e15, verbose=0) as to:
            for sample in samples(tar):
                key = sample["__key__"]
                to.write({"__key__": key, "jpg": sample["jpg"], "json": about.encode()})
        with (out / "000000.tar").open("rb") as file:
            hashlib.file_digest(file, "sha256").hexdigest()
        return time.perf_counter() - start

    return run


def img2dataset(corpus: Corpus, out: Path) -> Callable[[], float]:
    """Makes a function that times img2dataset's resizer, in threads, and its writer."""
    from img2dataset.resizer import Resizer
    from img2dataset.writer import WebDatasetSampleWriter

    resizer = Resizer(SIDE, "center_crop", False, encode_quality=QUALITY, encode_format="jpg")
    schema = pa.schema([("key", pa.string()), ("width", pa.int32()), ("height", pa.int32())])

    def run() -> float:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        tar = Path(corpus.store.path("images/000000.tar"))
        start = time.perf_counter()
        writer = WebDatasetSampleWriter(0, str(out), False, 5, schema, "jpg")
        with kept_output(), ThreadPoolExecutor(THREADS) as pool:
            read = ((s["__key__"], io.BytesIO(s["jpg"])) for s in samples(tar))
            for key, result in pool.map(lambda item: (item[0], resizer(item[1])), read):
                data, width, height, *_, error = result
                assert error is None, error
                writer.write(data, key, None, {"key": key, "width": width, "height": height})
        writer.close()
        return time.perf_counter() - start

    return run


@contextmanager
def kept_output() -> Iterator[None]:
    """Restores stdout and stderr: threads of img2dataset's resizer race in redirecting them."""
    kept = [os.dup(number) for number in (1, 2)]
    try:
        yield
    finally:
        for number, other in enumerate(kept, 1):
            os.dup2(other, number)
            os.close(other)


def faster(
    name: str,
    one: Callable[[], float],
    other: Callable[[], float],
    rounds: int,
    count: int,
    goal: str,
) -> list[Measure]:
    """Compares the speed of two functions, in alternating rounds, after a round to warm up."""
    times = [(one(), other()) for _ in range(rounds + 1)][1:]
    own_times, peer_times = zip(*times, strict=True)
    peer = measure(f"{name}: the peer", [count / t for t in peer_times], "pictures/s")
    return [
        measure(f"{name}: ours", [count / t for t in own_times], "pictures/s"),
        peer,
        measure(name, [b / a for a, b in times], "times", goal, peer.name),
    ]


def main(args: argparse.Namespace) -> list[Measure]:
    """Writes the same pictures with our writer and with the peers, and returns the rows."""
    warnings.simplefilter("ignore")
    rounds, passed, resized = (2, 500, 24) if args.quick else (5, 4000, 200)
    measures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = corpus_of(folder / "small", passed, (SIDE, SIDE))
        settings = ShardSettings(
            resolutions=(SIDE,), format="original", bytes_per_tar=1 << 40, samples_per_tar=A_SHARD
        )
        own, peer = ours(small, settings, "passed"), shard_writer(small, folder / "shards")
        check_passed(small, own, peer, folder / "shards/000000.tar")
        measures += faster("bytes passed through", own, peer, rounds, passed, PASSED_GOAL)
        large = corpus_of(folder / "large", resized, PHOTO, kinds=8)
        settings = settings.model_copy(update={"format": "jpeg", "aspects": ("1x1",)})
        own, peer = ours(large, settings, "resized"), img2dataset(large, folder / "resized")
        check_resized(large, own, peer, folder / "resized/00000.tar")
        measures += faster("2 megapixels to 512", own, peer, rounds, resized, RESIZED_GOAL)
    return measures


def check_passed(corpus: Corpus, one: Any, other: Any, tar: Path) -> None:
    """Checks that both outputs have the original bytes, under the same keys."""
    one(), other()
    made = SetFolder(corpus.store, "sets/passed/0")
    mine = {s["__key__"]: s["jpg"] for s in samples(Path(made.url(f"{SIDE}/1x1/000000.tar")))}
    assert mine == {s["__key__"]: s["jpg"] for s in samples(tar)}
    assert mine == {
        s["__key__"]: s["jpg"] for s in samples(Path(corpus.store.path("images/000000.tar")))
    }


def check_resized(corpus: Corpus, one: Any, other: Any, tar: Path) -> None:
    """Checks that both outputs have pictures of 512 pixels that look alike."""
    one(), other()
    made = SetFolder(corpus.store, "sets/resized/0")
    mine = {s["__key__"]: s["jpg"] for s in samples(Path(made.url(f"{SIDE}/1x1/000000.tar")))}
    theirs = {s["__key__"]: s["jpg"] for s in samples(tar)}
    assert mine.keys() == theirs.keys()
    for key in list(mine)[:8]:
        pictures = [np.asarray(Image.open(io.BytesIO(d)), float) for d in (mine[key], theirs[key])]
        assert pictures[0].shape == pictures[1].shape == (SIDE, SIDE, 3)
        assert np.abs(pictures[0] - pictures[1]).mean() < 6


if __name__ == "__main__":
    options = parser(__doc__).parse_args()
    publish(main(options), options.json)
