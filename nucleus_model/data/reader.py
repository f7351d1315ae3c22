"""Reads and decodes the samples of a batch, with their captions, as a worker process does.

    reader = Reader(tables, joined=False)
    loaded = reader.load(request, pixels)

Does not import torch, so that worker processes stay small. A picture that can't be decoded is
reported with its reason, and its slot in the batch stays empty: it is not replaced.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleus_data.errors import CorpusError
from nucleus_data.pixels import PixelError, Reason, open_picture
from nucleus_model.data.captions import draw_caption
from nucleus_model.data.reads import Read
from nucleus_model.data.streams import BLOCK_ROWS
from nucleus_model.data.tables import Tables
from nucleus_model.encoders.cache import Cache


@dataclass(frozen=True)
class Request:
    """A request for samples of one batch; JSON-able.

    Attributes:
        tars: Number of each sample's tar at the resolution.
        rows: Row of each sample in its tar.
        size: Width and height of the bucket, in pixels.
        draws: Key with which each sample's caption is drawn, from `captions.draw_name`.
        seed: The run's seed.
        dropout: Probability of an empty caption.
        weights: Weights of captions by source; None for equal weights.
        slots: Index of each sample's picture in the batch's memory.
        at: Offset of the batch's memory, in bytes.
        skip: Indices of samples whose pictures are not needed; their slots are not written to.
    """

    tars: Sequence[int]
    rows: Sequence[int]
    size: tuple[int, int]
    draws: Sequence[str]
    seed: int
    dropout: float
    weights: Mapping[str, float] | None
    slots: Sequence[int] = ()
    at: int = 0
    skip: Sequence[int] = ()

    def to_json(self) -> bytes:
        """Serializes the request as JSON."""
        # Not `asdict`, which copies every value of every list.
        return json.dumps(vars(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Request":
        """Parses the output of `to_json`."""
        content = json.loads(data)
        return cls(**{**content, "size": tuple(content["size"]), "skip": tuple(content["skip"])})

    def part(self, places: Sequence[int]) -> "Request":
        """Returns a request for some of the samples."""
        rest = {"size": self.size, "seed": self.seed, "at": self.at}
        return Request(
            [self.tars[n] for n in places],
            [self.rows[n] for n in places],
            draws=[self.draws[n] for n in places],
            dropout=self.dropout,
            weights=self.weights,
            slots=[self.slots[n] for n in places],
            skip=tuple(number for number, n in enumerate(places) if n in self.skip),
            **rest,  # type: ignore[arg-type]
        )


@dataclass
class Loaded:
    """The answer to a request; JSON-able. Pictures are passed in shared memory.

    Attributes:
        ids: Id of each sample.
        captions: Caption of each sample; empty if it was dropped.
        failures: Index in the request -> why the picture can't be decoded.
    """

    ids: list[str] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    failures: dict[int, str] = field(default_factory=dict)


class Reader:
    """Loads samples.

    Args:
        tables: The set's tables.
        joined: For a remote set: whether to read blocks of adjacent pictures at once, and keep a
            block until its other pictures are needed.
        images: Cache of decoded pictures by id; None for no cache.
    """

    def __init__(
        self,
        tables: Tables,
        *,
        joined: bool = False,
        images: Cache[NDArray[np.uint8]] | None = None,
    ) -> None:
        self.tables, self.joined, self.images = tables, joined, images

    def begin(self, request: Request) -> list[Read[Any] | None]:
        """Starts the reads that a request needs from a remote store."""
        if self.tables.store.local:
            return [None] * len(request.tars)
        return [
            None
            if number in request.skip
            else self.tables.reads.begin(
                self.tables.path(tar),
                lambda tar=tar, row=row: self._both(tar, row),  # type: ignore[misc]
            )
            for number, (tar, row) in enumerate(zip(request.tars, request.rows, strict=True))
        ]

    def load(
        self,
        request: Request,
        pixels_NHW3: NDArray[np.uint8],
        begun: Sequence[Read[Any] | None] | None = None,
    ) -> Loaded:
        """Loads samples.

        Args:
            request: The samples.
            pixels_NHW3: Their pictures are written to this, at the request's `slots`.
            begun: The result of `begin`, if it was called.

        Raises:
            CorpusError: A table or a tar can't be read, or not in time.
        """
        loaded = Loaded()
        reads = self.begin(request) if begun is None else begun
        for number, (tar, row) in enumerate(zip(request.tars, request.rows, strict=True)):
            ident, caption = self.caption(tar, row, request, request.draws[number])
            try:
                if number not in request.skip:
                    pixels_NHW3[request.slots[number]] = self._picture(
                        ident, tar, row, request.size, reads[number]
                    )
            except (PixelError, ValueError, MemoryError) as error:
                # ValueError: the crop exceeds the picture.
                loaded.failures[number] = f"{self.tables.path(tar)}: {error}"
            loaded.ids.append(ident)
            loaded.captions.append(caption)
        return loaded

    def _picture(
        self, ident: str, tar: int, row: int, size: tuple[int, int], read: Read[Any] | None
    ) -> NDArray[np.uint8]:
        def make() -> NDArray[np.uint8]:
            data = self.data(tar, row) if read is None else read.result()
            return self.decoded(tar, row, data, size)

        return make() if self.images is None else self.images.get(ident, make)

    def _both(self, tar: int, row: int) -> bytes | memoryview:
        """Reads a picture, after making sure that there is a local copy of its tar's captions."""
        self.tables.captions(tar)
        return self.data(tar, row)

    def data(self, tar: int, row: int) -> bytes | memoryview:
        """Reads a picture's bytes.

        Raises:
            CorpusError: Its tar is missing.
        """
        try:
            return self._data(tar, row)
        except FileNotFoundError:
            url = self.tables.folder.url(self.tables.path(tar))
            raise CorpusError(f"{url} is missing; run: nucleus verify") from None

    def _data(self, tar: int, row: int) -> bytes | memoryview:
        tables = self.tables
        place = tables.places(tar)[row]
        offset, size, path = int(place["offset"]), int(place["size"]), tables.path(tar)
        if tables.store.local:
            return tables.store.read_range(path, offset, size)
        if not self.joined:
            name = f"pictures/{tar}/{row}"
            return tables.files.get(name, lambda: tables.store.read_range(path, offset, size))
        block = row // BLOCK_ROWS
        places = tables.places(tar)[block * BLOCK_ROWS : (block + 1) * BLOCK_ROWS]
        start, end = int(places["offset"].min()), int((places["offset"] + places["size"]).max())
        block_data = tables.files.get(
            f"blocks/{tar}/{block}", lambda: tables.store.read_range(path, start, end - start)
        )
        return block_data[offset - start : offset - start + size]

    def decoded(
        self, tar: int, row: int, data: bytes | memoryview, size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Decodes a picture; an original is also cropped and scaled."""
        place = self.tables.places(tar)[row]
        crop = tuple(place["crop"].tolist()) if place["cut"] else None
        return open_picture(whole(bytes(data), int(place["size"]))).rgb(crop=crop, size=size)

    def caption(self, tar: int, row: int, request: Request, draw: str) -> tuple[str, str]:
        """Returns a sample's id, and the caption drawn for it."""
        ident = self.tables.places(tar)["id"][row].tobytes().hex()
        captions, sources = self.captions(tar, row)
        drawn = draw_caption(
            ident, captions, sources, request.seed, draw, request.dropout, request.weights
        )
        return ident, drawn

    def captions(self, tar: int, row: int) -> tuple[list[str], list[str]]:
        """Returns all captions of a sample, and the source of each."""
        table = self.tables.captions(tar)
        if table is None:
            return [], []
        return table["captions"][row].as_py(), table["caption_sources"][row].as_py()


def whole(data: bytes, size: int) -> bytes:
    """Returns a picture's bytes; raises PixelError if there are fewer, as the tar is cut off."""
    if len(data) < size:
        detail = f"the tar is cut off: {len(data):,} of the picture's {size:,} bytes are there"
        raise PixelError(Reason.TRUNCATED, detail)
    return data
