"""Planned batches, and the interface of all orders that plan them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from nucleus_model.data.draws import Numbers
from nucleus_model.data.samples import Bucket

Gather = Callable[[str], list[str]]


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position of a batch in a run.

    Attributes:
        phase: Number of the phase, from 0.
        epoch: Number of the epoch, from 0, counted over all phases.
        batch: Number of the batch in the epoch, from 0.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """Which share of each batch a process takes.

    Attributes:
        rank: The process's rank, from 0.
        size: The number of processes.
    """

    rank: int = 0
    size: int = 1


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The samples of one step; those listed are this process's share.

    Attributes:
        cursor: The batch's position in the run.
        bucket: The aspect bucket of its samples.
        tars: Number of the tar of each sample in this process's share.
        rows: Row of each of these samples in its tar.
        slots: Number of samples of the whole batch, over all processes.
        turns: How often each sample occurred in this epoch before; None for never.
    """

    cursor: Cursor
    bucket: Bucket
    tars: Numbers
    rows: Numbers
    slots: int
    turns: Numbers | None = None

    @property
    def after(self) -> Cursor:
        """The position of the epoch's next batch, if it has one."""
        return Cursor(self.cursor.phase, self.cursor.epoch, self.cursor.batch + 1)


class Order(Protocol):
    """An order of an epoch's samples, cut into batches."""

    @property
    def samples(self) -> int:
        """Number of samples of an epoch; with a mixture that varies, of the first epoch."""

    @property
    def rests(self) -> int:
        """Number of an epoch's batches that are smaller than usual: at most one per bucket."""

    def batches(self, cursor: Cursor, share: Share) -> Iterator[BatchPlan]:
        """Plans an epoch's batches, starting with the cursor's."""
