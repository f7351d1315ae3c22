"""A training set at one resolution: what it has, from its indexes alone, and single samples of it.

Nothing is read of a tar but the pictures that are asked for. Of a set of fewer samples than
`exact_below`, the places of all pictures are in one mapped file (48 bytes a sample); of a larger
one, those of the tars that are open. `feed` says which samples a step takes.
"""

import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.compute as pc
from numpy.typing import NDArray

from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError
from nucleus_data.hashing import config_hash
from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.sets.layout import SetFolder
from nucleus_model.data.arrow_files import TARS, write_tars
from nucleus_model.data.captions import has_source
from nucleus_model.data.draws import Numbers, ascending
from nucleus_model.data.reader import Reader
from nucleus_model.data.samples import Batch, Bucket, Sample
from nucleus_model.data.tables import WHOLE, Tables, TableSource
from nucleus_model.encoders.cache import Cache
from nucleus_model.settings.loading import LoaderSettings

COPIES = "nucleus-loader-"
EXACT_BELOW = 5_000_000


class TrainingSet:
    """A published training set at one resolution, with one of its caption editions.

    Args:
        folder: Local path or fsspec URL of the folder that holds `manifest.parquet`.
        resolution: Which of the set's resolutions; None for the smallest.
        edition: Name of the caption edition, or digits of its hash; None for the only one.
        columns: Digits of the hash of the columns beside it; None for the only ones.
        with_columns: Whether the columns are needed.
        storage_options: For fsspec.
        cache_bytes: Memory for decoded images, in bytes.
        loader: How it is read.
        exact_below: Below so many samples, the places of all of them are read.

    Attributes:
        count: How many samples it has; where `exact`, with a caption.
        without: How many have no caption in the edition, and are left out; None where not `exact`.
        edition: The caption edition.
        buckets: Its aspect buckets, by width and height.
        tables: What lies beside its tars.
        exact: Whether the places of all samples are read.
        fits: Whether all decoded images fit into `cache_bytes`.
        failures: Samples whose picture could not be decoded: id to reason. They are left out of
            their batch, and nothing comes instead.

    Raises:
        CorpusError: There is no manifest, or an index is not the one that it describes.
        RequestError: There is no such edition, or there are several.
        ValueError: The set does not have the resolution.
    """

    def __init__(
        self,
        folder: str,
        *,
        resolution: int | None = None,
        edition: str | None = None,
        columns: str | None = None,
        with_columns: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        cache_bytes: int = 1 << 30,
        loader: LoaderSettings | None = None,
        exact_below: int = EXACT_BELOW,
    ) -> None:
        self.loader = loader or LoaderSettings()
        self.store = Store(folder, storage_options)
        self.failures: dict[str, str] = {}
        found = SetFolder(self.store)
        manifest = found.manifest_table()
        sides = sorted(set(manifest.column("resolution").to_pylist()))
        if resolution is not None and resolution not in sides:
            raise ValueError(
                f"resolution: {folder} has no resolution {resolution}; allowed here: "
                f"{', '.join(map(str, sides)) or 'none, the set is empty'}"
            )
        self.resolution = resolution if resolution is not None else min(sides, default=0)
        self.edition = found.edition(edition)
        columns_hash = found.columns(columns).hash if with_columns else None
        mine = manifest.filter(pc.equal(manifest.column("resolution"), self.resolution))
        # What lies in the set's folder and decides a batch: tars, their order, captions, columns.
        content = [mine.column(name).to_pylist() for name in ("path", "sha256", "index_sha256")]
        self.digest = "sets-2:" + config_hash([content, self.edition.hash, columns_hash])
        copies = self._copies(folder)
        write_tars(manifest, self.resolution, copies)
        self.source = TableSource(
            folder=folder,
            storage_options=dict(storage_options or {}),
            edition=self.edition.hash,
            columns=columns_hash,
            copies=str(copies),
            cache_bytes=self.loader.cache_bytes,
            reads=self.loader.reads,
            timeout_s=self.loader.timeout_s,
        )
        self.tables = Tables(self.source)
        self.tables.files.trim(keep=(TARS, WHOLE))
        self.buckets = _buckets(self.tables)
        self._images: Cache[NDArray[np.uint8]] = Cache(cache_bytes)
        pixels = sum(bucket.samples * bucket.width * bucket.height for bucket in self.buckets)
        self.fits = 3 * pixels <= cache_bytes
        self.count = int(self.tables.first[-1])
        self.exact = self.count < exact_below
        self.without: int | None = None
        if self.exact:
            self.without = self.count - len(self.by_id)
            self.count = len(self.by_id)

    def _copies(self, folder: str) -> Path:
        """The folder of local copies: one that stays, by what lies in the set, or a new one."""
        name = self.digest.partition(":")[2]
        if self.loader.cache_folder is not None:
            name = config_hash([folder, name])
            return Path(self.loader.cache_folder) / name
        _sweep()
        made = tempfile.mkdtemp(prefix=f"{COPIES}{os.getpid()}-")
        weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
        return Path(made)

    def reader(self, *, joined: bool = False) -> Reader:
        """Reads samples in this process, and keeps decoded ones where all of them fit."""
        return Reader(self.tables, joined=joined, images=self._images if self.fits else None)

    @cached_property
    def by_id(self) -> Numbers:
        """Numbers of the samples that have a caption, in order of id. Where `exact`.

        Raises:
            CorpusError: Two have one id.
        """
        places = self.tables.whole()
        order = ascending(places["id"])
        ids = places["id"][order]
        if len(twice := np.flatnonzero((ids[1:] == ids[:-1]).all(axis=1))):
            one, other = (self.sample(int(order[twice[0] + n])) for n in (0, 1))
            raise CorpusError(
                f"{self.store.uri}: sample {one.id} is in {one.tar} and in {other.tar}; write the "
                "set again"
            )
        if self.edition.without:
            captioned = self.by_tar(
                lambda tar: has_source(self.tables.caption_sources(tar)["caption_sources"], None)
            )
            order = order[captioned[order]]
        return order

    def by_tar(self, values: Callable[[int], NDArray[Any]]) -> NDArray[Any]:
        """Values of all samples, which a function gives for each tar."""
        tars = range(len(self.tables.paths))
        return np.concatenate([values(tar) for tar in tars]) if tars else np.empty(0, np.int64)

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """All samples that have a caption, with it, in order of id; for small sets."""
        return tuple(self.sample(int(number)) for number in self.by_id)

    def sample(self, number: int) -> Sample:
        """One sample, by its number in the order of the manifest's tars."""
        tars, rows = self.place(np.array([number]))
        return self.sample_at(int(tars[0]), int(rows[0]))

    def place(self, numbers: Numbers) -> tuple[Numbers, Numbers]:
        """The tars of samples, and their rows in them."""
        tars = np.searchsorted(self.tables.first, numbers, side="right") - 1
        return tars, numbers - self.tables.first[tars]

    def sample_at(self, tar: int, row: int) -> Sample:
        """One sample, by its tar and its row in it."""
        place = self.tables.places(tar)[row]
        bucket = self.buckets[self.bucket_of[tar]]
        captions, sources = self.reader().captions(tar, row)
        return Sample(
            id=place["id"].tobytes().hex(),
            tar=self.tables.path(tar),
            offset=int(place["offset"]),
            size=int(place["size"]),
            captions=tuple(captions),
            sources=tuple(sources),
            aspect=bucket.aspect,
            width=bucket.width,
            height=bucket.height,
            crop=tuple(place["crop"].tolist()) if place["cut"] else None,
        )

    @cached_property
    def bucket_of(self) -> Numbers:
        """The bucket of each tar, by its number."""
        found = np.zeros(len(self.tables.first) - 1, np.int64)
        for number, bucket in enumerate(self.buckets):
            found[bucket.tars] = number
        return found

    def image(self, sample: Sample) -> NDArray[np.uint8]:
        """Returns the sample's image, cropped and resized: uint8 (height, width, 3).

        Raises:
            PixelError: It cannot be decoded.
        """
        return self._images.get(sample.id, lambda: self._decoded(sample))

    def _decoded(self, sample: Sample) -> NDArray[np.uint8]:
        data = self.store.read_range(sample.tar, sample.offset, sample.size)
        return open_picture(data).rgb(crop=sample.crop, size=sample.bucket)  # type: ignore[arg-type]

    def batch(self, samples: Sequence[Sample], captions: Sequence[str]) -> Batch | None:
        """Decodes samples of one bucket.

        Args:
            samples: The samples.
            captions: One a sample.

        Returns:
            Those that could be decoded, the others are noted in `failures`; None if none could.
        """
        images, good = [], []
        for sample, caption in zip(samples, captions, strict=True):
            try:
                images.append(self.image(sample))
            except (PixelError, ValueError) as error:  # ValueError: the crop leaves the image
                self.failures[sample.id] = f"{sample.tar}: {error}"
            else:
                good.append((sample.id, caption))
        if not good:
            return None
        kept, texts = zip(*good, strict=True)
        return Batch(kept, np.stack(images), texts)


def _buckets(tables: Tables) -> list[Bucket]:
    tars = tables.tars
    sizes = list(
        zip(*(tars.column(n).to_pylist() for n in ("width", "height", "aspect")), strict=True)
    )
    samples = tars.column("samples").to_numpy()
    numbers: dict[tuple[int, int, str], list[int]] = {}
    for number, size in enumerate(sizes):
        numbers.setdefault(size, []).append(number)
    return [
        Bucket(*size, np.array(numbers[size]), int(samples[numbers[size]].sum()))
        for size in sorted(numbers)
    ]


def _sweep() -> None:
    """Removes copies that dead processes of this user left."""
    for path in Path(tempfile.gettempdir()).glob(f"{COPIES}*"):
        found = re.fullmatch(rf"{COPIES}(\d+)-\w+", path.name)
        try:
            if found and path.stat().st_uid == os.getuid() and not psutil.pid_exists(int(found[1])):
                shutil.rmtree(path, ignore_errors=True)
        except FileNotFoundError:
            continue  # another process was faster
