"""What became of one upstream row: its picture, or why there is none."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fetched:
    """One row's outcome: the image's bytes, or a reason code; and columns learnt on the way."""

    data: bytes | None
    error: str | None = None
    detail: str | None = None
    retryable: bool = False
    columns: dict[str, Any] = field(default_factory=dict)
