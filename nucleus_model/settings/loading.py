"""Settings for reading a training set: processes, copies, time-outs. They change no batch."""

from pydantic import BaseModel, ConfigDict, Field


class LoaderSettings(BaseModel):
    """Settings for reading pictures and captions of a training set."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    workers: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="Worker processes per trainer process that read and decode ahead; 0: none. "
        "null: none if the decoded set fits into `image_cache_bytes`, else up to 4, depending on "
        "the number of cores.",
    )
    ahead: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Number of batches that workers read and decode ahead.",
    )
    reads: int = Field(
        default=16,
        ge=1,
        le=256,
        description="Concurrent reads of a remote set, per process.",
    )
    cache_folder: str | None = Field(
        default=None,
        description="Local folder for copies of indexes, captions and (for a remote set) pictures. "
        "A folder that you name is kept, and later runs can reuse it. null: a temporary folder, "
        "which is removed at the end.",
    )
    cache_bytes: int = Field(
        default=8 << 30,
        ge=0,
        description="Maximum size of the local copies, in bytes, per trainer process including its "
        "workers.",
    )
    timeout_s: float = Field(
        default=60.0,
        gt=0,
        description="Seconds after which an unanswered read of a remote store is retried, up to "
        "three attempts in all. A picture that takes three times as long to decode fails.",
    )
