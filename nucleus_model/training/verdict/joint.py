"""One order for two arms: pictures that both have take the same places, whatever else differs.

Two runs of one seed are a pair only if they meet the same pictures at the same steps. Where ids
differ, and filters make them differ, orders of their own would part the arms at the first step. So
the union of both arms' pictures is put into the order that one set of them all would have, and a
place whose picture an arm lacks is filled with another of its own pictures of the same bucket. Both
arms take equally many steps of equally many image tokens; how often each meets its own pictures
follows, and is said.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import NamedTuple

from nucleus_data.hashing import config_hash, keyed_uint64, keyed_unit
from nucleus_model.data.feed import plan_epoch
from nucleus_model.data.loader import Sample

Bucket = tuple[int, int]


class Slot(NamedTuple):
    """A picture's place in the joint order.

    Attributes:
        id: Of the record.
        bucket: Width and height in pixels.
    """

    id: str
    bucket: Bucket


class Placed(NamedTuple):
    """A sample in a batch.

    Attributes:
        sample: The arm's.
        draw: What its noise and caption are keyed by: the epoch, or for the n-th time that it fills
            a place `<epoch>+<n>`, so that no noise is met twice.
    """

    sample: Sample
    draw: str


@dataclass(frozen=True)
class JointOrder:
    """The pictures of both arms that are trained on.

    Attributes:
        slots: A picture each, whichever arm has it, in order of id.
    """

    slots: tuple[Slot, ...]
    ids: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", frozenset(slot.id for slot in self.slots))

    def digest(self) -> str:
        """Hashes the order: runs of one digest and seed take the same places."""
        return config_hash([[slot.id, list(slot.bucket)] for slot in self.slots])

    def epoch(
        self, own: Sequence[Sample], *, seed: int, epoch: int, batch_size: int
    ) -> list[list[Placed]]:
        """Plans an arm's batches of an epoch of the union.

        Args:
            own: The arm's pictures; those that are not in the order are left out.
            seed: Of the run.
            epoch: From 0.
            batch_size: Of whole batches.

        Returns:
            As many batches, of as many samples, as any arm of this order has. A batch is of one
            bucket: the union's, or, where the arm has no picture of it, one of the arm's own.

        Raises:
            ValueError: The arm has no picture of the order.
        """
        buckets: dict[Bucket, list[Sample]] = defaultdict(list)
        known = {}
        for sample in own:
            if sample.id in self.ids:
                buckets[sample.bucket].append(sample)
                known[sample.id] = sample
        if not known:
            raise ValueError("this arm has no picture of the joint order")
        fillers = _Fillers(buckets, seed, epoch)
        found = []
        planned = plan_epoch(self.slots, seed=seed, epoch=epoch, batch_size=batch_size)
        for number, batch in enumerate(planned):
            bucket = batch[0].bucket
            if bucket not in buckets:
                bucket = fillers.other_bucket(number)
            found.append(
                [
                    Placed(known[slot.id], str(epoch))
                    if slot.id in known and known[slot.id].bucket == bucket == slot.bucket
                    else fillers.next(bucket)
                    for slot in batch
                ]
            )
        return found


class _Fillers:
    """An arm's pictures for places whose own picture it lacks; each bucket's in turn."""

    def __init__(self, buckets: dict[Bucket, list[Sample]], seed: int, epoch: int) -> None:
        self.counts = Counter({bucket: len(of) for bucket, of in sorted(buckets.items())})
        self.seed, self.epoch = seed, epoch
        self.turns: dict[Bucket, Iterator[Placed]] = {}
        self.buckets = buckets

    def next(self, bucket: Bucket) -> Placed:
        if bucket not in self.turns:
            name = f"filler:{self.epoch}"
            order = sorted(
                self.buckets[bucket], key=lambda s: (keyed_uint64(name, self.seed, s.id), s.id)
            )
            self.turns[bucket] = (
                Placed(sample, f"{self.epoch}+{turn}") for turn in count(1) for sample in order
            )
        return next(self.turns[bucket])

    def other_bucket(self, number: int) -> Bucket:
        """A bucket that the arm has, by its share."""
        point = keyed_unit(f"filler-bucket:{self.epoch}", self.seed, str(number))
        return next(islice(self.counts.elements(), int(point * self.counts.total()), None))


def joint_order(a: Sequence[Slot], b: Sequence[Slot]) -> JointOrder:
    """The order of two arms.

    A picture that lies in different buckets of the two has the place of A's bucket; in B it counts
    as a picture that B lacks there.

    Args:
        a: Pictures that arm A trains on.
        b: Those of arm B.
    """
    by_id = {slot.id: slot for slot in (*b, *a)}
    return JointOrder(tuple(by_id[key] for key in sorted(by_id)))


@dataclass(frozen=True)
class Shared:
    """How alike two arms' pictures are.

    Attributes:
        both: Pictures that both train on.
        a_only, b_only: Those of one alone.
    """

    both: int
    a_only: int
    b_only: int

    @property
    def equal(self) -> bool:
        """Whether replicates of one seed are pairs: both arms train on the same pictures."""
        return not self.a_only and not self.b_only


def shared(a: Sequence[str], b: Sequence[str]) -> Shared:
    """Counts the ids that two arms share."""
    one, other = set(a), set(b)
    return Shared(len(one & other), len(one - other), len(other - one))
