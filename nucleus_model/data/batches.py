"""What a planned batch is, and what any order of an epoch can say of its batches."""

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
        epoch: How many epochs were begun before this one, in all phases.
        batch: How many batches of this epoch come before this one.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of each batch a process takes.

    Attributes:
        rank: Its number among the processes, from 0.
        size: How many processes there are.
    """

    rank: int = 0
    size: int = 1


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The samples that one step takes, of which this process has a part.

    Attributes:
        cursor: Where it is in the run.
        bucket: The aspect bucket of its samples.
        tars: The tar of each sample of this process's part, by number.
        rows: The row of each in its tar.
        slots: How many samples the batch has in all processes.
        turns: How often the epoch has had each before; None for never.
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
    """How the samples of an epoch are ordered."""

    @property
    def samples(self) -> int:
        """How many samples an epoch has; of a mixture that changes, the first epoch."""

    @property
    def rests(self) -> int:
        """How many of an epoch's batches are smaller than asked for: at most one a bucket."""

    def batches(self, cursor: Cursor, share: Share) -> Iterator[BatchPlan]:
        """Plans an epoch's batches from the cursor's on."""
