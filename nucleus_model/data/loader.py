"""A training set at one resolution: its content, known from its indexes, and single samples.

Tars are only read for the pictures that are needed. For a set with fewer samples than
`exact_below`, the positions of all pictures are in one memory-mapped file (48 bytes per sample);
for a larger one, only those of the open tars are in memory. `feed` loads the batches of a training.
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
from nucleus_model.data.reader import Reader, whole
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
        resolution: One of the set's resolutions; None for the smallest.
        edition: The caption edition, by name or a prefix of its hash; None for the only one.
        columns: The columns, by a prefix of their hash; None for the only ones.
        with_columns: Whether the columns are needed.
        storage_options: Options for fsspec.
        cache_bytes: Memory for decoded images, in bytes.
        loader: Settings of reading and caching.
        exact_below: Number of samples below which the set gets an exact order.

    Attributes:
        count: Number of samples; if `exact`, of those with a caption.
        without: Number of samples that have no caption in the edition, and are left out; None if
            not `exact`.
        edition: The caption edition.
        buckets: The aspect buckets, sorted by width and height.
        tables: The set's indexes, captions and columns.
        exact: Whether the positions of all samples are read, for an exact order.
        fits: Whether all decoded images fit into `cache_bytes`.
        failures: Samples that could not be decoded, id -> reason. They are left out of their batch,
            without replacement.

    Raises:
        CorpusError: There is no manifest, or an index does not match it.
        RequestError: There is no such edition, or several match.
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
        set_folder = SetFolder(self.store)
        manifest = set_folder.manifest_table()
        sides = sorted(set(manifest.column("resolution").to_pylist()))
        if resolution is not None and resolution not in sides:
            raise ValueError(
                f"resolution: {folder} has no resolution {resolution}; available: "
                f"{', '.join(map(str, sides)) or 'none, the set is empty'}"
            )
        self.resolution = resolution if resolution is not None else min(sides, default=0)
        self.edition = set_folder.edition(edition)
        columns_hash = set_folder.columns(columns).hash if with_columns else None
        tars = manifest.filter(pc.equal(manifest.column("resolution"), self.resolution))
        # The digest covers everything that affects a batch: tars, their order, captions, columns.
        content = [tars.column(name).to_pylist() for name in ("path", "sha256", "index_sha256")]
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
        """Returns the folder of local copies: one below `cache_folder`, or a temporary one."""
        name = self.digest.partition(":")[2]
        if self.loader.cache_folder is not None:
            name = config_hash([folder, name])
            return Path(self.loader.cache_folder) / name
        _sweep()
        made = tempfile.mkdtemp(prefix=f"{COPIES}{os.getpid()}-")
        weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
        return Path(made)

    def reader(self, *, joined: bool = False) -> Reader:
        """Returns a reader for this process, which caches decoded images if all of them fit."""
        return Reader(self.tables, joined=joined, images=self._images if self.fits else None)

    @cached_property
    def by_id(self) -> Numbers:
        """Numbers of the samples with a caption, sorted by id. Only if `exact`.

        Raises:
            CorpusError: Two samples have the same id.
        """
        places = self.tables.whole()
        order = ascending(places["id"])
        ids = places["id"][order]
        if len(twice := np.flatnonzero((ids[1:] == ids[:-1]).all(axis=1))):
            first, second = (self.sample(int(order[twice[0] + n])) for n in (0, 1))
            raise CorpusError(
                f"{self.store.uri}: sample {first.id} is in both {first.tar} and {second.tar}; "
                "write the set again"
            )
        if self.edition.without:
            captioned = self.by_tar(
                lambda tar: has_source(self.tables.caption_sources(tar)["caption_sources"], None)
            )
            order = order[captioned[order]]
        return order

    def by_tar(self, values: Callable[[int], NDArray[Any]]) -> NDArray[Any]:
        """Concatenates the values that a function returns for each tar."""
        tars = range(len(self.tables.paths))
        return np.concatenate([values(tar) for tar in tars]) if tars else np.empty(0, np.int64)

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """All samples with a caption, sorted by id; for small sets only."""
        return tuple(self.sample(int(number)) for number in self.by_id)

    def sample(self, number: int) -> Sample:
        """Returns the sample with a number, counted in the order of the manifest's tars."""
        tars, rows = self.place(np.array([number]))
        return self.sample_at(int(tars[0]), int(rows[0]))

    def place(self, numbers: Numbers) -> tuple[Numbers, Numbers]:
        """Returns the tars of samples, and their rows in these."""
        tars = np.searchsorted(self.tables.first, numbers, side="right") - 1
        return tars, numbers - self.tables.first[tars]

    def sample_at(self, tar: int, row: int) -> Sample:
        """Returns the sample in a row of a tar."""
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
        """(T,) number of each tar's bucket."""
        buckets = np.zeros(len(self.tables.first) - 1, np.int64)
        for number, bucket in enumerate(self.buckets):
            buckets[bucket.tars] = number
        return buckets

    def image(self, sample: Sample) -> NDArray[np.uint8]:
        """Returns the sample's image, cropped and resized: uint8 (height, width, 3).

        Raises:
            PixelError: It cannot be decoded.
        """
        return self._images.get(sample.id, lambda: self._decoded(sample))

    def _decoded(self, sample: Sample) -> NDArray[np.uint8]:
        data = whole(self.store.read_range(sample.tar, sample.offset, sample.size), sample.size)
        return open_picture(data).rgb(crop=sample.crop, size=sample.bucket)  # type: ignore[arg-type]

    def batch(self, samples: Sequence[Sample], captions: Sequence[str]) -> Batch | None:
        """Decodes samples of one bucket.

        Args:
            samples: The samples.
            captions: One caption per sample.

        Returns:
            The samples that could be decoded; None if there are none. Others are noted in
            `failures`.
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
    """Removes temporary copies left behind by dead processes of this user."""
    for path in Path(tempfile.gettempdir()).glob(f"{COPIES}*"):
        match = re.fullmatch(rf"{COPIES}(\d+)-\w+", path.name)
        try:
            if match and path.stat().st_uid == os.getuid() and not psutil.pid_exists(int(match[1])):
                shutil.rmtree(path, ignore_errors=True)
        except FileNotFoundError:
            continue  # another process was faster
