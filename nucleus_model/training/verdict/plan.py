"""The plan of a comparison, fixed before its first run: its pictures and their captions.

`pictures.parquet` has one row per picture of either set. A run reads it and nothing else about the
other set, so runs do not depend on the machine, and repeating a killed run gives the same bytes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.errors import RequestError
from nucleus_data.hashing import keyed_unit
from nucleus_model.data.draws import as_hex
from nucleus_model.data.joint import JointOrder
from nucleus_model.data.kept import Kept
from nucleus_model.data.loader import TrainingSet
from nucleus_model.settings.choice import HOLDOUT_SEED
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.chosen import (
    GIVEN,
    SEED,
    A,
    B,
    Read,
    Unseen,
    in_keyed_order,
    notes_of,
)
from nucleus_model.training.verdict.collect import SEEN, UNSEEN, Memory, memory_pictures
from nucleus_model.training.verdict.facts import Copies

PICTURES = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("a", pa.bool_()),  # A trains on it
        pa.field("b", pa.bool_()),
        pa.field("reference", pa.bool_()),  # evaluated as a reference picture
        pa.field("memory", pa.string()),  # role in measuring memorisation: seen, unseen, or null
        pa.field("read_from", pa.string()),  # for evaluated ones, the set that it is read from
        pa.field("caption", pa.string()),  # for evaluated ones, the true caption
        pa.field("cluster", pa.string()),  # duplicates, which a draw of the data keeps together
    ]
)


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: a training set and a caption edition.

    Attributes:
        folder: Local path or fsspec URL.
        edition: The caption edition, by name or a prefix of its hash; None for the only one.
        storage_options: Options for fsspec.
        name: Name for people; by default the folder.
    """

    folder: str
    edition: str | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def open(self, settings: VerdictSettings, kept: Kept | None = None) -> TrainingSet:
        """Opens the set, or returns it from `kept`. Raises the errors of `TrainingSet`."""
        return (kept or Kept()).open(
            self.folder,
            resolution=settings.resolution,
            edition=self.edition,
            storage_options=self.storage_options,
        )


@dataclass(frozen=True)
class Planned:
    """The plan of a comparison.

    Attributes:
        settings: Its settings.
        arms: The sets: `a`, `b` and, if one was given, `reference`.
        digests: Hashes of their content.
        pictures: Table with the schema `PICTURES`, sorted by id.
        notes: Notes for people about the reference.
        copies: Arm -> copies in its set, by their bytes or clusters.
    """

    settings: VerdictSettings
    arms: Mapping[str, Arm]
    digests: Mapping[str, str]
    pictures: pa.Table
    notes: tuple[str, ...] = ()
    copies: Mapping[str, Copies] = field(default_factory=dict)

    def pin(self) -> dict[str, Any]:
        """Returns the comparison's identity, JSON-able; it does not include the sets' locations."""
        return {
            "settings": self.settings.model_dump(mode="json", exclude={"half_width", "most"}),
            "digests": dict(self.digests),
        }

    def to_json(self) -> dict[str, Any]:
        """Returns what a run needs besides the pictures, without any storage credentials."""
        arms = {
            name: {k: v for k, v in asdict(arm).items() if k != "storage_options"}
            for name, arm in self.arms.items()
        }
        return {
            **self.pin(),
            "arms": arms,
            "notes": list(self.notes),
            "copies": {arm: asdict(of) for arm, of in self.copies.items()},
        }

    @property
    def memory(self) -> Memory:
        """The pictures that measure memorisation."""
        seen, unseen = (
            self.pictures.filter(pc.equal(self.pictures.column("memory"), name))
            for name in (SEEN, UNSEEN)
        )
        both = pc.and_(seen.column("a"), seen.column("b"))
        seen_ids, unseen_ids = (tuple(rows.column("id").to_pylist()) for rows in (seen, unseen))
        return Memory(seen_ids, unseen_ids, not pc.all(both).as_py())

    def order(self, replicate: int) -> JointOrder:
        """Returns the joint order of the pictures of both arms for a replicate.

        For a claim about recipes, each replicate draws a subset of the clusters. The subsets
        overlap, so the spread over replicates has (1 - share) / share of the variance due to which
        clusters the corpus has (a quarter at 0.8), and the interval divides it by their number. It
        covers other draws from this corpus, not other corpora (scripts/bench_verdict_statistics).
        """
        rows = self.pictures.filter(pc.or_(self.pictures.column("a"), self.pictures.column("b")))
        share = self.settings.share if self.settings.claim == "recipes" else 1.0
        return JointOrder.of(
            {
                row["id"]: (row["width"], row["height"])
                for row in rows.select(["id", "width", "height", "cluster"]).to_pylist()
                if share == 1
                or keyed_unit(f"verdict-draw:{replicate}", SEED, row["cluster"]) < share
            }
        )


def plan_comparison(
    a: Arm,
    b: Arm,
    settings: VerdictSettings,
    reference: Arm | None = None,
    clusters: Mapping[str, str] | None = None,
) -> Planned:
    """Chooses the pictures of a comparison, without decoding any.

    Args:
        a: The baseline.
        b: The set to judge.
        settings: The comparison's settings.
        reference: The set to evaluate on; None to hold pictures out of both arms. Some are held
            out in any case, to measure memorisation.
        clusters: Id -> cluster of duplicates, for draws of the data; ids without one are unique.

    Raises:
        RequestError: The sets have no pictures to train on, or to measure.
    """
    arms = {A: a, B: b} | ({GIVEN: reference} if reference else {})
    sets = {name: arm.open(settings) for name, arm in arms.items()}
    for name, opened in sets.items():
        if not opened.count:
            raise RequestError(f"{arms[name].name or arms[name].folder} {_why_empty(opened)}")
    if len({opened.resolution for opened in sets.values()}) > 1:
        resolutions = ", ".join(f"{name}: {opened.resolution}" for name, opened in sets.items())
        raise RequestError(
            f"the smallest resolutions of the sets differ ({resolutions}); choose one that all "
            "have with --resolution"
        )
    of = {name: _buckets(opened) for name, opened in sets.items()}
    held = {name: _held_out(of[name], settings.holdout_share, clusters or {}) for name in (A, B)}
    given = set(of.get(GIVEN, ()))
    excluded = given.union(*held.values())
    train = {name: [i for i in in_keyed_order(of[name]) if i not in excluded] for name in (A, B)}
    for name in (A, B):
        if not train[name]:
            apart = "in the reference or held out" if given else "held out"
            raise RequestError(
                f"{arms[name].folder}: no picture is left to train on, as all {len(of[name]):,} "
                f"with a caption are {apart}"
            )
    measured_by = Read(sets, of)
    new = Unseen(measured_by, train, clusters or {})
    measured = new.first(given or set().union(*held.values()), settings.pictures)
    if len(measured) < 2:
        raise RequestError(
            f"only {len(measured)} pictures are left to measure, but at least 2 are needed; give "
            + ("a larger reference" if given else "a reference, or compare larger sets")
        )
    unseen = [new.first(held[name] - given, None) for name in (A, B)]
    try:
        memory = memory_pictures(
            (train[A], train[B]), (unseen[0], unseen[1]), measured, settings.pictures
        )
    except ValueError as error:
        raise RequestError(str(error)) from None
    rows = _rows(of, train, measured, memory, measured_by, clusters or {})
    notes = (*notes_of(measured_by, measured, GIVEN in sets), *new.notes())
    if given and not given.isdisjoint(memory.unseen):
        notes += (
            "Too few pictures are held out of both sets to measure memorisation: the reference is "
            "used instead, and a set does better on pictures like its own",
        )
    digests = {name: opened.digest for name, opened in sets.items()}
    copies = {name: new.repeated(name) for name in (A, B)}
    return Planned(settings, arms, digests, pa.Table.from_pylist(rows, PICTURES), notes, copies)


def _why_empty(opened: TrainingSet) -> str:
    """Returns why a set has no samples to compare."""
    if not opened.without:
        return "has no pictures, so there is nothing to compare"
    return (
        f"has {opened.without:,} pictures, but none of them has a caption, which a comparison "
        "needs (choose other captions with @EDITION)"
    )


def _rows(
    of: Mapping[str, Mapping[str, Any]],
    train: Mapping[str, list[str]],
    measured: list[str],
    memory: Memory,
    read: Read,
    clusters: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Returns one row per picture, sorted by id."""
    uses = {name: set(ids) for name, ids in train.items()}
    roles = dict.fromkeys(memory.seen, SEEN) | dict.fromkeys(memory.unseen, UNSEEN)
    reference = set(measured)
    rows = []
    for ident in sorted(set().union(*uses.values(), reference, roles)):
        size = next(of[name][ident][1] for name in (A, B, GIVEN) if ident in of.get(name, ()))
        read_from, caption = (
            read.of_picture(ident) if ident in reference or ident in roles else (None, None)
        )
        rows.append(
            {
                "id": ident,
                "width": size[0],
                "height": size[1],
                **{name: ident in uses[name] for name in (A, B)},
                "reference": ident in reference,
                "memory": roles.get(ident),
                "read_from": read_from,
                "caption": caption,
                "cluster": clusters.get(ident, ident),
            }
        )
    return rows


def _buckets(opened: TrainingSet) -> dict[str, tuple[int, tuple[int, int]]]:
    """Returns id -> (number in the set, bucket size) of the samples that have a caption."""
    if not opened.exact:
        raise RequestError(
            f"{opened.store.uri} has {opened.count:,} samples, which is too many for a comparison; "
            "make a smaller set (nucleus shard --sample)"
        )
    numbers = opened.by_id
    tars, _ = opened.place(numbers)
    sizes = [opened.buckets[n].size for n in opened.bucket_of[tars].tolist()]
    names = as_hex(opened.tables.whole()["id"][numbers])
    return {
        name.decode(): (number, size)
        for name, number, size in zip(names, numbers.tolist(), sizes, strict=True)
    }


def _held_out(ids: Iterable[str], share: float, clusters: Mapping[str, str]) -> set[str]:
    """Draws the share of a set's pictures that no arm trains on, keeping duplicates together."""
    return {i for i in ids if keyed_unit("holdout", HOLDOUT_SEED, clusters.get(i, i)) < share}
