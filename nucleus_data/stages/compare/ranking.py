"""Ranks the copies of a picture by comparing pairs, and finds the faults of all but the best."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.exchanged import get, put
from nucleus_data.corpus.images import read_images
from nucleus_data.pixels import Limits, PixelError, open_picture
from nucleus_data.runner.work import Summary
from nucleus_data.stages.compare.evidence import Evidence, Known, compare
from nucleus_data.stages.compare.members import ComparePlan
from nucleus_data.stages.compare.order import RANKS
from nucleus_data.stages.compare.preference import MEASURES
from nucleus_data.stages.compare.views import View, share_of, view


class Ranked(NamedTuple):
    """The rank of a copy.

    Attributes:
        rank: The rank; 0 for the best copy.
        faults: What is worse than in the best copy.
    """

    rank: int
    faults: tuple[str, ...] = ()


def ranking(count: int, against: Callable[[int, int], Evidence]) -> list[Ranked]:
    """Ranks copies.

    The best copy is found in one pass: the first one is compared with the next, the winner with the
    one after that, and so on. The others are ordered by their score against the best one; with
    equal scores, they keep their order.

    Args:
        count: Number of copies, which are numbered in the order of their signals.
        against: Compares two copies, given their numbers.

    Returns:
        The rank of each copy.
    """
    asked: dict[tuple[int, int], Evidence] = {}

    def of(one: int, other: int) -> Evidence:
        if (one, other) not in asked:
            asked[one, other] = against(one, other)
        return asked[one, other]

    best = 0
    for other in range(1, count):
        if of(best, other).score < 0:
            best = other
    found = {best: Ranked(0)}
    others = sorted((i for i in range(count) if i != best), key=lambda i: (of(best, i).score, i))
    for rank, i in enumerate(others, 1):
        found[i] = Ranked(rank, of(best, i).faults)
    return [found[i] for i in range(count)]


@dataclass(frozen=True)
class RankTask:
    """Ranks groups of copies: those that begin in a shard, or those in a slice of a partition.

    Attributes:
        plan: What is compared.
        tar_sizes: Cache: shard -> size of its tar in bytes.
    """

    plan: ComparePlan
    tar_sizes: dict[int, int] = field(default_factory=dict)

    def run(self, number: int) -> Summary:
        """Writes the file `ranks` for the file `copies` with the same number."""
        plan = self.plan
        corpus = plan.corpus()
        done = plan.exchanged("ranks", number)
        summary = Summary()
        if not corpus.store.exists(done):
            copies = get(corpus.store, plan.exchanged("copies", number))
            if copies is None:  # an empty slice, of a partition with few copies
                return summary
            rows: list[dict[str, Any]] = []
            for group in pc.unique(copies.column("copies")).to_pylist():
                members = copies.filter(pc.equal(copies.column("copies"), group))
                rows += self._rank(corpus, members)
            put(corpus.store, done, pa.Table.from_pylist(rows, RANKS))
        return summary

    def _rank(self, corpus: Corpus, copies: pa.Table) -> list[dict[str, Any]]:
        """Ranks the files of one group; those that can't be decoded come last."""
        data = self._read(corpus, copies)
        limits = Limits(max_pixels=self.plan.max_pixels)
        views, errors = decoded(data, limits)
        members = copies.select(["copies", "sha256", "id"]).to_pylist()
        known = [Known(**row) for row in copies.select(list(MEASURES)).to_pylist()]
        readable = [i for i, decoded_view in enumerate(views) if decoded_view is not None]

        def against(one: int, other: int) -> Evidence:
            a, b = readable[one], readable[other]
            mine, its = views[a], views[b]
            assert mine is not None
            assert its is not None
            return compare(mine, its, known[a], known[b])

        placed = dict(zip(readable, ranking(len(readable), against), strict=True))
        return [
            {
                **member,
                "copy_rank": placed[i].rank if i in placed else self.plan.members + 1,
                "copy_faults": list(placed[i].faults) if i in placed else [],
                "error": errors[i],
            }
            for i, member in enumerate(members)
        ]

    def _read(self, corpus: Corpus, copies: pa.Table) -> list[bytes]:
        """Reads the files, in the order of the rows; those of one shard are read together."""
        files: dict[tuple[int, int], bytes] = {}
        for shard in pc.unique(copies.column("shard")).to_pylist():
            rows = copies.filter(pc.equal(copies.column("shard"), shard)).sort_by("offset")
            if shard not in self.tar_sizes:
                footer = next(iter(corpus.records.metadata(shard)))
                self.tar_sizes[shard] = int(footer["tar_size"])
            images = read_images(corpus.store, shard, rows, self.tar_sizes[shard])
            for row, image in zip(rows.column("row").to_pylist(), images, strict=True):
                files[shard, row] = image
        places = zip(
            copies.column("shard").to_pylist(), copies.column("row").to_pylist(), strict=True
        )
        return [files[place] for place in places]


def decoded(data: Sequence[bytes], limits: Limits) -> tuple[list[View | None], list[str | None]]:
    """Decodes the files of a group of copies.

    Args:
        data: The files.
        limits: Limits of what is decoded.

    Returns:
        For each file its view, or None if it can't be decoded; and the reason code, or None.
    """
    sizes: list[tuple[int, int] | None] = []
    errors: list[str | None] = []
    for each in data:
        try:
            header = open_picture(each, limits).header
            sizes.append((header.width, header.height))
            errors.append(None)
        except PixelError as error:
            sizes.append(None)
            errors.append(error.reason.value)
    there = [size for size in sizes if size]
    views: list[View | None] = []
    for i, each in enumerate(data):
        if sizes[i] is None:
            views.append(None)
            continue
        try:
            views.append(view(each, share_of(there), limits))
        except PixelError as error:
            views.append(None)
            errors[i] = error.reason.value
    return views, errors
