"""Settings of reading a training set: processes, copies, time-outs. They change no batch."""

from pydantic import BaseModel, ConfigDict, Field


class LoaderSettings(BaseModel):
    """How pictures and captions get from the store to the trainer."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    workers: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="Processes beside each trainer that read and decode ahead; 0: none. Empty: "
        "none where the decoded set fits into `image_cache_bytes`, else up to 4, by the cores.",
    )
    ahead: int = Field(
        default=4,
        ge=1,
        le=64,
        description="With workers: how many batches are read and decoded ahead.",
    )
    reads: int = Field(
        default=16,
        ge=1,
        le=256,
        description="Of a remote set: how many reads each process has in flight.",
    )
    cache_folder: str | None = Field(
        default=None,
        description="Local folder for copies of indexes, captions and, of a remote set, pictures; "
        "it may be that of earlier runs. Empty: a new one, which is removed at the end.",
    )
    cache_bytes: int = Field(
        default=8 << 30,
        ge=0,
        description="Most bytes of those copies that a process keeps, with its workers.",
    )
    timeout_s: float = Field(
        default=60.0,
        gt=0,
        description="A read that a remote store does not answer in this time is asked for again, "
        "three times in all; a picture that takes three times as long to decode fails.",
    )
