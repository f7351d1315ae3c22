"""Plans a training set from metadata, in partitions on the store, so that no task holds the corpus.

| phase | one task handles | reads | writes, below `_plan/` of the set |
|---|---|---|---|
| deal | some image shards | selection, records, sizes | `kept/`: kept records, by partition |
| count | a partition | its part of each file in `kept/` | `counts/`, by bucket and stratum |
| merge | everything | `counts/` | `order/`: where each partition's strata begin; `totals` |
| place | a partition | `kept/`, `order/` | `placed/`: records, by group of tars; `out/` |
| plan | a group of tars | its part of each file in `placed/` | the plan of each tar |

A partition is a range of a keyed hash of the ids. A record's position in its bucket follows from
counts alone (`order`), and with it its tar. Files are created once, and their bytes do not depend
on who writes them, so a killed phase can be continued.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.damaged import read_json
from nucleus_data.corpus.dealing import (
    READS_AT_ONCE,
    by_reader,
    collect,
    deal,
    deal_tables,
)
from nucleus_data.runner.work import Summary
from nucleus_data.sets.beside import encode, read
from nucleus_data.sets.layout import LEFT_OUT_SCHEMA, SetFolder
from nucleus_data.sets.planned import PLAN_SCHEMA, PLANS, PlannedTar, encode_plan, plan_name
from nucleus_data.stages.shard.chosen import (
    CHOSEN_SCHEMA,
    aspect_sizes,
    kept_records,
    stratum_names,
    with_crops,
)
from nucleus_data.stages.shard.counts import (
    COUNTS_SCHEMA,
    Cut,
    Placed,
    cap_cuts,
    count_places,
    limit_cut,
    places_of,
)
from nucleus_data.stages.shard.order import indexes, offset_of
from nucleus_data.stages.shard.settings import ShardSettings
from nucleus_data.stages.shard.totals import ORDER_SCHEMA, Totals, merged

PHASES = ("deal", "count", "merge", "place", "plan")
SHARDS_A_PIECE = 25  # image shards, of at most 10,000 records each
TARS_A_GROUP = 64
PLANNED_SCHEMA = pa.schema([*PLAN_SCHEMA, ("tar", pa.int64()), ("position", pa.int64())])


@dataclass(frozen=True)
class Planning:
    """Plans a set; each phase is a task for the runner.

    Attributes:
        uri: The corpus.
        storage_options: Options for fsspec.
        folder: The training set, `sets/<name>/<config hash>`.
        tables: Config hash of every table that is read.
        settings: How the training set is made.
        pieces: The image shards, divided into pieces; there are as many partitions as pieces.
        limit: Maximum number of records, the first ones in keyed order; None for all.
        sample: Share of the records to take.
        phase: The phase.
    """

    uri: str
    storage_options: Mapping[str, Any]
    folder: str
    tables: Mapping[str, str]
    settings: ShardSettings
    pieces: tuple[tuple[int, ...], ...]
    limit: int | None = None
    sample: float = 1.0
    phase: str = ""

    def at(self, phase: str) -> "Planning":
        """Returns the task of one phase."""
        return replace(self, phase=phase)

    def items(self, tars: int) -> int:
        """Returns the number of items of the phase; `tars` is known after `merge`."""
        groups = -(-tars // TARS_A_GROUP)
        return {"merge": 1, "plan": groups}.get(self.phase, len(self.pieces))

    def run(self, number: int) -> Summary:
        """Processes one item of the phase."""
        work: Callable[[int], Summary] = getattr(self, f"_{self.phase}")
        return work(number)

    @property
    def _corpus(self) -> Corpus:
        return Corpus(self.uri, self.storage_options)

    @property
    def _set(self) -> SetFolder:
        return SetFolder(self._corpus.store, self.folder)

    def _name(self, folder: str, number: int | None = None) -> str:
        end = "" if number is None else f"/{number:06d}"
        return f"{self.folder}/{PLANS}/{folder}{end}"

    def _deal(self, number: int) -> Summary:
        """Deals the kept records of a piece to partitions, by a keyed hash of their ids."""
        corpus, name = self._corpus, self._name("kept", number)
        if corpus.store.exists(name):
            return Summary()

        def kept(shard: int) -> pa.Table:
            return kept_records(corpus, self.tables, shard, self.settings, self.sample)

        with ThreadPoolExecutor(READS_AT_ONCE // 4) as pool:
            tables = [CHOSEN_SCHEMA.empty_table(), *pool.map(kept, self.pieces[number])]
        rows = pa.concat_tables(tables)
        keyed = rows.column("keyed").to_numpy() >> np.uint64(32)
        partition = (keyed * np.uint64(len(self.pieces))) >> np.uint64(32)
        deal(corpus.store, name, rows, partition, len(self.pieces))
        return Summary()

    def _count(self, number: int) -> Summary:
        """Counts the records of a partition, by bucket and stratum."""
        store, name = self._set.store, self._name("counts", number)
        if not store.exists(name):
            counts = count_places(places_of(self._rows(number), number, Cut(), self.settings))
            store.create(name, encode(counts))
        return Summary()

    def _merge(self, number: int) -> Summary:
        """Adds up the counts of all partitions, and applies the limit and the caps."""
        store = self._set.store
        totals = self._name("totals.json")
        if not store.exists(totals):
            names = [self._name("counts", n) for n in range(len(self.pieces))]
            with ThreadPoolExecutor(READS_AT_ONCE) as pool:
                counts = list(pool.map(lambda name: read(store, name, COUNTS_SCHEMA), names))
            cut = Cut(limit_cut(counts, self.limit))
            counts = self._recounted(counts, cut, {cut.limit[0]})
            cut.caps = cap_cuts(counts, self.settings.cap_of())
            counts = self._recounted(counts, cut, {where for where, _ in cut.caps.values()})
            order, made = merged(counts, cut, self.settings)
            deal(store, self._name("order"), *order, len(self.pieces))
            store.create(totals, made.encoded())
        result = self.totals()
        return Summary(extra=Counter(tars=result.tars, kept=result.kept))

    def totals(self) -> Totals:
        """Reads the result of `merge`. Raises FileNotFoundError."""
        return Totals.decoded(read_json(self._set.store, self._name("totals.json")))

    def _recounted(self, counts: list[pa.Table], cut: Cut, again: set[int]) -> list[pa.Table]:
        """Recounts the partitions in which a limit or cap falls, and drops those after a limit."""
        updated = list(counts)
        for partition in range(len(counts)):
            if partition in again:
                places = places_of(self._rows(partition), partition, cut, self.settings)
                updated[partition] = count_places(places)
            elif partition > cut.limit[0]:
                updated[partition] = COUNTS_SCHEMA.empty_table()
        return updated

    def _place(self, number: int) -> Summary:
        store, totals = self._set.store, self.totals()
        groups, name = -(-totals.tars // TARS_A_GROUP), self._name("placed", number)
        out = f"{self._name('out', number)}.parquet"
        if store.exists(name) and store.exists(out):
            return Summary()
        found = places_of(self._rows(number), number, totals.cut, self.settings)
        begun = collect(store, [self._name("order")], number, len(self.pieces), ORDER_SCHEMA)
        lost = [LEFT_OUT_SCHEMA.empty_table()]
        samples: list[tuple[Any, ...]] = []
        for side, (bucket, reason, boxes) in found.at.items():
            missing = pa.array(reason != "")
            ids = found.rows.column("id").filter(missing)
            sides = pa.array(np.full(len(ids), side, np.int32))
            texts = pa.array(reason[reason != ""].tolist(), pa.string())
            lost.append(pa.table([ids, sides, texts], schema=LEFT_OUT_SCHEMA))
            inside = np.flatnonzero(reason == "")
            tar, position = self._positions(found, side, bucket, inside, begun, totals)
            samples.append((inside, boxes[inside], tar, position))
        row, box, tar, position = (np.concatenate(each) for each in zip(*samples, strict=True))

        def planned(at: Any) -> pa.Table:
            rows = with_crops(found.rows.take(pa.array(row[at])), box[at])
            rows = rows.append_column("tar", pa.array(tar[at]))
            return rows.append_column("position", pa.array(position[at])).cast(PLANNED_SCHEMA)

        # A record is in several resolutions: the rows of one group at a time, never all of them.
        deal_tables(store, name, map(planned, by_reader(tar // TARS_A_GROUP, groups)))
        store.create(out, encode(pa.concat_tables(lost)))
        return Summary()

    def _positions(
        self,
        found: Placed,
        side: int,
        bucket: Any,
        inside: Any,
        begun: pa.Table,
        totals: Totals,
    ) -> tuple[Any, Any]:
        """Returns the tar, and the position in it, of records that are in a resolution."""
        names = stratum_names(found.rows).take(pa.array(inside))
        tar, position = (np.empty(len(inside), np.int64) for _ in range(2))
        mine = begun.filter(pc.equal(begun.column("resolution"), side))
        for one in totals.buckets:
            chosen = np.flatnonzero(bucket[inside] == one.bucket)
            if one.resolution != side or not len(chosen):
                continue
            strata = pa.array(one.strata)
            own = pc.index_in(names.take(pa.array(chosen)), strata).to_numpy().astype(np.int64)
            here = mine.filter(pc.equal(mine.column("bucket"), one.bucket))
            before = np.zeros(len(strata), np.int64)
            before[here.column("stratum").to_numpy()] = here.column("before").to_numpy()
            rank = before[own] + _running(own, len(strata))
            seed = self.settings.seed
            offsets = [offset_of(seed, one.path, stratum) for stratum in one.strata]
            index = indexes(own, rank, np.array(one.counts), np.array(offsets))
            tar[chosen], position[chosen] = one.first_tar + index // one.each, index % one.each
        return tar, position

    def _plan(self, number: int) -> Summary:
        folder, totals = self._set, self.totals()
        last = min(totals.tars, (number + 1) * TARS_A_GROUP)
        numbers = range(number * TARS_A_GROUP, last)
        if folder.store.exists(folder.name(plan_name(last - 1))):
            return Summary()  # the plans of a group are written in order
        names = [self._name("placed", n) for n in range(len(self.pieces))]
        groups = -(-totals.tars // TARS_A_GROUP)
        rows = collect(folder.store, names, number, groups, PLANNED_SCHEMA)
        order = pc.sort_indices(rows, [("tar", "ascending"), ("position", "ascending")])
        tars = rows.column("tar").to_numpy()[order.to_numpy()]
        starts = np.searchsorted(tars, [*numbers, last]).tolist()
        rows = rows.select(PLAN_SCHEMA.names)
        for i, tar in enumerate(numbers):
            one = totals.bucket_of(tar)
            size = aspect_sizes(self.settings, one.resolution)[one.bucket]
            path = f"{one.path}/{tar - one.first_tar:06d}.tar"
            held = rows.take(order[starts[i] : starts[i + 1]])
            planned = PlannedTar(tar, path, one.resolution, one.path.split("/")[1], *size, held)
            folder.store.create(folder.name(plan_name(tar)), encode_plan(planned))
        return Summary()

    def _rows(self, partition: int) -> pa.Table:
        """Reads the rows of a partition, in keyed order."""
        names = [self._name("kept", n) for n in range(len(self.pieces))]
        rows = collect(self._set.store, names, partition, len(self.pieces), CHOSEN_SCHEMA)
        return rows.sort_by([("keyed", "ascending"), ("id", "ascending")])


def pieces_of(shards: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Divides image shards into pieces; a single empty piece if there are none."""
    starts = range(0, max(len(shards), 1), SHARDS_A_PIECE)
    return tuple(tuple(shards[start : start + SHARDS_A_PIECE]) for start in starts)


def left_out_words(counts: Mapping[str, int]) -> Iterator[str]:
    """Yields lines for people: how many records each resolution leaves out, and why.

    Args:
        counts: Counts by resolution and reason, with keys such as `256 too_small`.
    """
    by_side: dict[int, list[str]] = {}
    for key, count in sorted(counts.items()):
        side, _, reason = key.partition(" ")
        by_side.setdefault(int(side), []).append(f"{count:,} {reason_words(reason)}")
    for number, reasons in sorted(by_side.items()):
        yield f"  not at {number} pixels: {', '.join(reasons)}"


def reason_words(reason: str) -> str:
    """Words a reason for people: `over_cap:B1` becomes "over the cap of B1"."""
    name, _, more = reason.partition(":")
    if name == "over_cap":
        return f"over the cap of {more}"
    return f"{name.replace('_', ' ')}{f' ({more})' if more else ''}"


def _running(stratum: Any, strata: int) -> Any:
    """Returns the rank of each row within its stratum, from 0."""
    order = np.argsort(stratum, kind="stable")
    counts = np.bincount(stratum, minlength=strata)
    starts = np.cumsum(counts) - counts
    ranks = np.empty(len(stratum), np.int64)
    ranks[order] = np.arange(len(stratum)) - np.repeat(starts, counts)
    return ranks
