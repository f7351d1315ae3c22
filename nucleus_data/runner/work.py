"""Data types passed to and from workers: small, picklable, and independent of Ray."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

# Prefix of a table's name in `Summary.extra`: number of records that wait for a row in that table.
WAITING = "waiting for "


@dataclass
class TableSummary:
    """Counts of one table: `rows` is the sum of `already`, `done` and all of `failed`.

    Attributes:
        rows: Number of due rows.
        already: Those that the table already had, or that wait for a retry.
        done: Rows that got values in this run.
        failed: Rows that failed in this run, by reason code.
        retryable: Number of `failed` that are retryable.
        left_out: Records of the stage that are not due for the table, by reason (`runner.due`); not
            included in `rows`.
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
        """Returns the counts for `stages.jsonl`."""
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
        """Returns the counts of left-out records, if there are any."""
        left_out = {reason: count for reason, count in sorted(self.left_out.items()) if count}
        return {"left_out": left_out} if left_out else {}


@dataclass
class Summary:
    """Counts of some shards; small enough to pass through Ray.

    Attributes:
        rows: Number of records to work on.
        already: Those that already had a result.
        done: Rows that got a result in this run, in any table.
        failed: Rows that failed in this run, in any table, by reason code.
        retryable: Rows with a retryable failure.
        tables: Counts of each table, since a row may fail in only one of several.
        seconds: Worker time in seconds, by phase.
        bytes: Image bytes that were read.
        extra: Further counts: those of tasks, of waiting records (`WAITING`), and a row stage's
            own.
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
    """Resources of a stage's workers. Never part of a config hash."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    workers: int | None = Field(
        None,
        ge=1,
        description="Number of concurrent tasks (CPU stages); null: as many as fit into the "
        "cluster.",
    )
    actors: int = Field(
        0,
        ge=0,
        description="Number of model actors, which load the stage's model once; 0: the stage runs "
        "as plain tasks.",
    )
    num_cpus: float = Field(1, ge=0, description="Number of CPUs per worker.")
    num_gpus: float = Field(0, ge=0, description="Number of GPUs per worker.")
    memory_gb: float | None = Field(
        None, gt=0, description="Memory, in GiB, that Ray reserves per worker; null: none."
    )
    row_timeout_s: float = Field(
        300,
        gt=0,
        description="Maximum seconds for one image, after which its worker counts as hanging.",
    )
    row_memory_gb: float = Field(
        8,
        gt=0,
        description="Memory limit, in GiB, of the child process that handles each image of a "
        "guarded shard (one that failed twice, by a dying worker or an error of the stage).",
    )

    def ray_options(self) -> dict[str, Any]:
        """Returns the arguments for `.options(...)` of a task or an actor."""
        memory = {"memory": int(self.memory_gb * (1 << 30))} if self.memory_gb else {}
        return {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus, **memory}


class Task(Protocol):
    """Work on numbered items other than a row stage's shards (claims, output tars)."""

    def run(self, number: int) -> Summary:
        """Processes an item; idempotent, also when run twice at once."""


@runtime_checkable
class ModelTask(Task, Protocol):
    """A task with a model, which an actor loads once for many items."""

    def setup(self) -> None:
        """Loads the model; `run` also does so if this was not called."""


@runtime_checkable
class SharingTask(Task, Protocol):
    """A task whose workers share a common limit, such as a host's request rate."""

    def among(self, workers: int) -> "SharingTask":
        """Returns the task for each of `workers` concurrent workers."""


@runtime_checkable
class TellingTask(Task, Protocol):
    """A task that reports more than the number of rows done."""

    def progress(self, summary: Summary, seconds: float) -> str:
        """Returns the counts so far, for the progress bar."""

    def told(self, summary: Summary, seconds: float) -> list[str]:
        """Returns lines for people, at the end of the task."""


@dataclass
class Item:
    """An item to process, mostly a shard.

    Attributes:
        number: The item's number.
        limit: Maximum number of rows to work on.
        deaths: Number of workers that died while processing it.
        rows: Number of rows to process, if they were counted.
    """

    number: int
    limit: int | None = None
    deaths: int = 0
    rows: int | None = None


@dataclass(frozen=True)
class Size:
    """The size of some work.

    Attributes:
        items: Maximum number of items.
        rows: Counts the records involved; may stop counting above the number given.
    """

    items: int
    rows: Callable[[int], int]


@dataclass
class FailedShard:
    """A shard that failed."""

    number: int
    error: str
    traceback: str


@dataclass
class StageReport:
    """The report of a stage; `told` are lines for people about its own counts."""

    stage: str
    seconds: float = 0.0
    setup_seconds: float = 0.0
    shards: int = 0
    deaths: int = 0
    summary: Summary = field(default_factory=Summary)
    failed: list[FailedShard] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
