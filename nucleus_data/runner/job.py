"""What a worker needs to do shards of a row stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nucleus_data.stage import Condition, RowStage

if TYPE_CHECKING:
    from nucleus_data.runner.rows import ShardRows


@dataclass(frozen=True)
class StageJob:
    """What a worker needs to do shards of a row stage; small and picklable.

    Attributes:
        uri: The corpus.
        storage_options: For fsspec.
        stage: The stage, constructed, not set up.
        tables: Config hash of every table that the stage reads or writes.
        sample: Share of the records to work on, chosen by a keyed hash of their ids.
        retry: Work on rows that failed before in a way that may pass, and on nothing else.
        row_timeout_s: Longest time for one image before it counts as hanging.
        row_memory_bytes: Most memory of the child process in a guarded run.
        cpus: CPUs of the worker.
        conditions: Of tables that are asked about some records alone: which.
        only_again: Work on rows that are asked about again, and on nothing else.
        trial: Shard -> rows that every table is asked about, whatever its choice, and no others:
            for what is shown and not kept.
    """

    uri: str
    storage_options: Mapping[str, Any]
    stage: RowStage[Any]
    tables: Mapping[str, str]
    sample: float = 1.0
    retry: bool = False
    row_timeout_s: float = 300.0
    row_memory_bytes: int = 8 << 30
    cpus: int = 1
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    only_again: bool = False
    trial: Mapping[int, Sequence[int]] | None = None

    def open(self, shard: int, limit: int | None = None) -> "ShardRows":
        """Reads what there is about a shard and finds the rows to do."""
        from nucleus_data.runner.rows import ShardRows  # which is given jobs

        return ShardRows(self, shard, limit)
