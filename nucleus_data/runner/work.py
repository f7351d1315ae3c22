"""What is handed to workers and what comes back: small, picklable, and free of Ray."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

# Before a table's name, in `Summary.extra`: records that wait until it has their row.
WAITING = "waiting for "


@dataclass
class TableSummary:
    """What became of one table's rows: `rows` is `already`, `done` and the failed ones.

    Attributes:
        rows: Records that the stage is asked about.
        already: Those of `rows` that the table had, or that wait for a retry.
        done: Rows that got values now.
        failed: Rows that failed now, by reason code.
        retryable: Those of `failed` that may pass.
        left_out: Records that the stage works on and that the table is not asked about, by reason
            (`runner.due`); they are no `rows`.
    """

    rows: int = 0
    already: int = 0
    done: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    retryable: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, other: "TableSummary") -> None:
        """Adds another summary to this one."""
        self.rows += other.rows
        self.already += other.already
        self.done += other.done
        self.failed.update(other.failed)
        self.retryable += other.retryable
        self.left_out.update(other.left_out)

    def line(self) -> dict[str, Any]:
        """The counts as they stand in `stages.jsonl`."""
        return {
            "rows": self.rows,
            "already": self.already,
            "done": self.done,
            "failed": sum(self.failed.values()),
            "retryable": self.retryable,
            "reasons": dict(sorted(self.failed.items())),
            **self._left_out(),
        }

    def _left_out(self) -> dict[str, Any]:
        """Of a table that is asked about each record, nothing."""
        found = {reason: count for reason, count in sorted(self.left_out.items()) if count}
        return {"left_out": found} if found else {}


@dataclass
class Summary:
    """What became of some shards' rows; small enough to pass through Ray.

    Attributes:
        rows: Records that the stage is asked about.
        already: Those of `rows` that had a result before.
        done: Rows that got a result now, in one table or more.
        failed: Rows that failed now in one table or more, by reason code.
        retryable: Rows with a failure that may pass.
        tables: The counts of each table: in one of several a row may fail alone.
        seconds: Worker time in seconds, by phase.
        bytes: Image bytes that were read.
        extra: Further counts: of tasks that are no row stages; of records that wait (`WAITING`); a
            row stage's own.
    """

    rows: int = 0
    already: int = 0
    done: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    retryable: int = 0
    bytes: int = 0
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    extra: Counter[str] = field(default_factory=Counter)
    tables: defaultdict[str, TableSummary] = field(
        default_factory=lambda: defaultdict(TableSummary)
    )

    def add(self, other: "Summary") -> None:
        """Adds another summary to this one."""
        self.rows += other.rows
        self.already += other.already
        self.done += other.done
        self.retryable += other.retryable
        self.bytes += other.bytes
        self.failed.update(other.failed)
        for phase, seconds in other.seconds.items():
            self.seconds[phase] += seconds
        self.extra.update(other.extra)
        for name, table in other.tables.items():
            self.tables[name].add(table)


class Resources(BaseModel):
    """What a stage's workers get. Never part of a config hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: int | None = Field(
        None,
        ge=1,
        description="Tasks at once (CPU stages); by default as many as the cluster has room for.",
    )
    actors: int = Field(0, ge=0, description="Model actors; 0 runs the stage as plain tasks.")
    num_cpus: float = Field(1, ge=0, description="CPUs of one worker.")
    num_gpus: float = Field(0, ge=0, description="GPUs of one worker.")
    memory_gb: float | None = Field(
        None, gt=0, description="Memory that Ray reserves for one worker."
    )
    row_timeout_s: float = Field(
        300, gt=0, description="An image that takes longer counts as hanging its worker."
    )
    row_memory_gb: float = Field(
        8, gt=0, description="Memory limit of the child process when a shard runs guarded."
    )

    def ray_options(self) -> dict[str, Any]:
        """Options for `.options(...)` of a task or an actor."""
        memory = {"memory": int(self.memory_gb * (1 << 30))} if self.memory_gb else {}
        return {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus, **memory}


class Task(Protocol):
    """Work on one numbered item that is not a row stage (a claim, an output tar)."""

    def run(self, number: int) -> Summary:
        """Does the item; safe to be done again, or twice at once."""


@runtime_checkable
class ModelTask(Task, Protocol):
    """A task with a model: an actor loads it once, and does item after item."""

    def setup(self) -> None:
        """Loads what is heavy; `run` does it, too, where nobody did it before."""


@runtime_checkable
class SharingTask(Task, Protocol):
    """A task whose workers share something that is limited for all of them together."""

    def among(self, workers: int) -> "SharingTask":
        """The same task as one of so many that run at once."""


@runtime_checkable
class TellingTask(Task, Protocol):
    """A task that tells people more than how many rows are done."""

    def progress(self, summary: Summary, seconds: float) -> str:
        """The counts so far, beside the progress bar."""

    def told(self, summary: Summary, seconds: float) -> list[str]:
        """Lines on all of it, at its end."""


@dataclass
class Item:
    """A shard to do.

    Attributes:
        number: The shard.
        limit: Most rows of it to work on.
        deaths: Workers that died while they had it.
        rows: How many there are to do, if they were counted.
    """

    number: int
    limit: int | None = None
    deaths: int = 0
    rows: int | None = None


@dataclass(frozen=True)
class Size:
    """How much work there is.

    Attributes:
        items: How many items at most.
        rows: Counts the records that they are about; it stops above the number given.
    """

    items: int
    rows: Callable[[int], int]


@dataclass
class FailedShard:
    """A shard that could not be done."""

    number: int
    error: str
    traceback: str


@dataclass
class StageReport:
    """What a stage did; `told` are lines for people on its own counts."""

    stage: str
    seconds: float = 0.0
    setup_seconds: float = 0.0
    shards: int = 0
    deaths: int = 0
    summary: Summary = field(default_factory=Summary)
    failed: list[FailedShard] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
