"""The outcome of fetching one upstream row: its image, or why there is none."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fetched:
    """The outcome of a row.

    Attributes:
        data: The image's bytes; None if there is none.
        error: Reason code, if there is no image.
        detail: Description of the reason, for people.
        retryable: Whether another attempt may succeed.
        columns: Upstream columns found while fetching, by name.
    """

    data: bytes | None
    error: str | None = None
    detail: str | None = None
    retryable: bool = False
    columns: dict[str, Any] = field(default_factory=dict)
