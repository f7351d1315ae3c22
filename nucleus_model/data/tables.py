"""The tables beside the tars of a set at one resolution: positions of pictures, captions, columns.

Each table is read from the store on first use, and kept as a memory-mapped local copy. So rows need
no decoding, and all processes of a machine that share the folder of copies share the memory. No tar
is read.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nucleus_data.corpus.damaged import damaged
from nucleus_data.corpus.store import Store, with_retries
from nucleus_data.errors import CorpusError
from nucleus_data.sets.layout import SetFolder
from nucleus_model.data.arrow_files import TARS, as_ipc, from_ipc
from nucleus_model.data.draws import Numbers, as_bytes
from nucleus_model.data.local_files import LocalFiles
from nucleus_model.data.places import PLACE, places_of
from nucleus_model.data.reads import Reads

WHOLE = "places.bin"


@dataclass(frozen=True)
class TableSource:
    """Everything that a process needs to open the tables; JSON-able.

    Attributes:
        folder: Local path or fsspec URL of the set.
        storage_options: Options for fsspec.
        edition: Hash of the caption edition; None for a set without captions.
        columns: Hash of the index columns; None if none are needed.
        copies: Folder of the local copies.
        cache_bytes: Maximum bytes of local copies that this process keeps.
        reads: Maximum number of concurrent reads.
        timeout_s: Seconds after which a read is retried.
    """

    folder: str
    storage_options: Mapping[str, Any]
    edition: str | None
    columns: str | None
    copies: str
    cache_bytes: int
    reads: int
    timeout_s: float

    def to_json(self) -> str:
        """Serializes the source as JSON."""
        return json.dumps(asdict(self))


class Tables:
    """The tables of all tars of one resolution, by the tar's number.

    Args:
        source: The source; its folder of copies must have `tars.arrow`
            (`arrow_files.write_tars`).

    Attributes:
        source: The source, as given.
        store: The set's store.
        folder: The set.
        files: The local copies.
        reads: The pool of reading threads.
        tars: One row per tar, in the manifest's order: path, aspect, width, height, samples, bytes,
            first. `first` is the number of samples in earlier tars.
        paths: (T,) paths of the tars below the set.
        first: (T + 1,) number of samples before each tar; the last item is the number of all.
    """

    def __init__(self, source: TableSource) -> None:
        self.source = source
        self.store = Store(source.folder, source.storage_options)
        self.folder = SetFolder(self.store)
        self.files = LocalFiles(Path(source.copies), source.cache_bytes)
        self.reads = Reads(source.reads, source.timeout_s)
        with pa.memory_map(str(self.files.folder / TARS)) as file:
            self.tars = pa.ipc.open_file(file).read_all()
        self.paths: pa.ChunkedArray = self.tars.column("path")
        self.first: Numbers = np.append(
            self.tars.column("first").to_numpy(), pc.sum(self.tars.column("samples")).as_py() or 0
        )
        self._edition = self.folder.new_edition(source.edition) if source.edition else None
        self._columns = self.folder.new_columns(source.columns) if source.columns else None

    def path(self, tar: int) -> str:
        """Returns the path of a tar below the set."""
        return str(self.paths[tar].as_py())

    def samples(self, tar: int) -> int:
        """Returns the number of samples of a tar."""
        return int(self.first[tar + 1] - self.first[tar])

    def places(self, tar: int) -> NDArray[Any]:
        """Returns the positions of a tar's samples, in order: (N,) of dtype `PLACE`."""
        if self._whole is not None:
            return self._whole[self.first[tar] : self.first[tar + 1]]
        view = self.files.get(f"places/{tar}", lambda: self.read_places(tar).tobytes())
        return np.frombuffer(view, PLACE)

    def captions(self, tar: int) -> pa.Table | None:
        """Returns `id`, `captions` and `caption_sources` of a tar's samples, in order.

        Returns None for a set without a caption edition.

        Raises:
            CorpusError: The edition's file does not match the tar's index.
        """
        if self._edition is None:
            return None
        edition = self._edition

        def make() -> bytes:
            table = edition.captions(self.path(tar))
            self._check(tar, table, "captions")
            # Captions of other samples would not cause an error, but ruin the training.
            if not np.array_equal(as_bytes(table["id"].to_pylist()), self.places(tar)["id"]):
                raise CorpusError(
                    f"{self.store.url(edition.file(self.path(tar)))} and the index of its tar have "
                    "different ids, or a different order; run: nucleus verify"
                )
            return as_ipc(table)

        return from_ipc(self.files.get(f"captions/{tar}", make))

    def caption_sources(self, tar: int) -> pa.Table:
        """Returns `caption_sources` of a tar's samples, in order, without reading the captions.

        Raises:
            DamagedError: The edition's file can't be read, or lacks the column.
        """
        if self._edition is None:
            return pa.table({"caption_sources": [[] for _ in range(self.samples(tar))]})
        if self.files.has(f"captions/{tar}") and (known := self.captions(tar)) is not None:
            return known
        name = self._edition.file(self.path(tar))

        def read() -> pa.Table:
            path = self.store.path(name)
            with pq.ParquetFile(path, filesystem=self.store.fs, pre_buffer=True) as file:
                return file.read(columns=["caption_sources"], use_threads=False)

        try:
            table = with_retries(read)
        except pa.ArrowInvalid as error:
            raise damaged(self.store, name, error) from error
        if not table.column_names:
            raise damaged(self.store, name, "it has no column caption_sources")
        self._check(tar, table, "captions")
        return table

    def columns(self, tar: int, names: Sequence[str]) -> pa.Table:
        """Returns index columns of a tar's samples, in order.

        Raises:
            ValueError: There is no such column.
        """
        if self._columns is None:
            raise ValueError(f"{self.folder.url()} has no columns beside its tars")
        columns = self._columns

        def make() -> bytes:
            values = columns.values(self.path(tar))
            self._check(tar, values, "columns")
            return as_ipc(values)

        table = from_ipc(self.files.get(f"columns/{tar}", make))
        if missing := [name for name in names if name not in table.column_names]:
            known = ", ".join(table.column_names)
            raise ValueError(
                f"quick_train.mixture: {self.folder.url()} has no column {missing[0]!r} beside its "
                f"tars; available: {known}"
            )
        return table.select(list(names))

    def read_places(self, tar: int) -> NDArray[Any]:
        """Reads a tar's index from the store.

        Raises:
            CorpusError: The index is missing, or does not match the manifest.
        """
        name = self.path(tar)
        try:
            table = self.folder.index(name)
        except FileNotFoundError:
            raise CorpusError(
                f"{self.folder.url(name)} has no index beside it; run: nucleus verify"
            ) from None
        self._check(tar, table, "index")
        places = places_of(table, *self.size(tar))
        ends, size = places["offset"] + places["size"], self.tars["bytes"][tar].as_py()
        if len(places) and not (places["offset"].min() >= 0 and ends.max() <= size):
            raise CorpusError(
                f"{self.folder.url(name)}: its index points outside of it; run: nucleus verify"
            )
        return places

    def size(self, tar: int) -> tuple[int, int]:
        """Returns width and height of a tar's aspect bucket, in pixels."""
        row = self.tars.slice(tar, 1).to_pylist()[0]
        return row["width"], row["height"]

    def read_all(self, tars: Iterable[int]) -> None:
        """Reads the positions of many tars concurrently, unless there are local copies."""
        wanted = [tar for tar in tars if not self.files.has(f"places/{tar}")]
        begun = [
            self.reads.begin(self.path(tar), lambda tar=tar: self.read_places(tar))  # type: ignore[misc]
            for tar in wanted
        ]
        for tar, read in zip(wanted, begun, strict=True):
            data = read.result().tobytes()
            self.files.get(f"places/{tar}", lambda data=data: data)  # type: ignore[misc]

    def whole(self) -> NDArray[Any]:
        """Returns the positions of all samples, tar by tar, from one memory-mapped copy."""
        path = self.files.folder / WHOLE
        if self._whole is None and len(self.paths):
            begun = [
                self.reads.begin(self.path(tar), lambda tar=tar: self.read_places(tar))  # type: ignore[misc]
                for tar in range(len(self.paths))
            ]
            part = path.with_name(
                f".{WHOLE}.{id(self):x}.{np.random.default_rng().integers(1 << 62):x}"
            )
            with part.open("wb") as file:
                for read in begun:
                    file.write(read.result().tobytes())
            part.replace(path)
            del self._whole
        places = self._whole
        return np.empty(0, PLACE) if places is None else places

    @cached_property
    def _whole(self) -> NDArray[Any] | None:
        path = self.files.folder / WHOLE
        if not path.exists():
            return None
        return np.memmap(path, PLACE, mode="r").view(np.ndarray)

    def _check(self, tar: int, table: pa.Table, what: str) -> None:
        if len(table) != self.samples(tar):
            raise CorpusError(
                f"{self.folder.url(self.path(tar))} has {len(table)} rows in its {what}, but "
                f"{self.samples(tar)} samples in the manifest; run: nucleus verify"
            )
