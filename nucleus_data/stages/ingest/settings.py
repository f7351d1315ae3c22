"""Settings of a source of pictures."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nucleus_data.stages.ingest.fetch_settings import FetchSettings

Kind = Literal["folder", "tars", "img2dataset", "urls", "embedded"]


class SourceSettings(BaseModel):
    """The settings of the section `ingest` that describe the source."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: str = Field(
        "",
        description="Path or URL of the source: a folder of images, or one image; a .tar, a glob "
        "(`d/*.tar`), a numbered range (`d/{00000..00009}.tar`) or a folder of tars; an output "
        "folder of img2dataset; tables that contain the pictures (Parquet of a dataset hub, a "
        "folder of the package datasets); or a URL list (.parquet, .csv, .tsv, .jsonl, .txt, also "
        "compressed as .gz or .zst, a glob of those, or a folder of .parquet).",
    )
    kind: Literal["auto", "folder", "tars", "img2dataset", "urls", "embedded"] = Field(
        "auto",
        description="Kind of source; `auto` detects it, `embedded` means tables that contain the "
        "pictures.",
    )
    name: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Name of the source, which is part of every record's id: the same name and "
        "the same key are the same record. null: the last component of the path.",
    )
    captions: str | None = Field(
        None,
        description="For folders: Parquet or CSV with a column of file names (paths relative to "
        "the folder) and a column of captions; its other columns become `source.NAME`.",
    )
    file_column: str | None = Field(
        None,
        description="Column of `captions` with the file names; null: found by its name (file, "
        "file_name, …).",
    )
    caption_column: str | None = Field(
        None,
        description="Column with the captions, in `captions` or in the source's own tables or URL "
        "list; null: found by its name (caption, text, …).",
    )
    caption_encoding: str | None = Field(
        None,
        description="Encoding (`cp1252`, `shift_jis`, …) of caption files and lists that have no "
        "byte-order mark and are not valid UTF-8; null: their captions are counted, and not "
        "ingested.",
    )
    url_column: str | None = Field(
        None,
        description="Column of a URL list with the URLs; null: found by its name (url, image_url, "
        "…).",
    )
    picture_column: str | None = Field(
        None,
        description="Column with the pictures, in tables that contain them; null: detected, with "
        "a preference for usual names (image, img, …).",
    )
    columns: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Names of the columns, in order, of a CSV or TSV without a header line, for "
        "example [caption, url].",
    )
    compare_bytes: bool = Field(
        False,
        description="Whether to read all pictures and captions that are already in the corpus, to "
        "report which have changed; by default, only files whose size or time differs are read.",
    )
    images_per_shard: int = Field(
        10_000, ge=1, le=1_000_000, description="Maximum number of source rows per image shard."
    )
    bytes_per_shard: int = Field(
        1_000_000_000,
        ge=1,
        description="Maximum image bytes per image shard, where sizes are known.",
    )
    max_bytes: int = Field(
        256 << 20,
        ge=1,
        description="Maximum size of an image file, in bytes; larger ones are not stored, and "
        "fail as too_large.",
    )
    storage_options: dict[str, Any] = Field(
        default_factory=dict,
        description="Options of fsspec for the source (endpoint, credentials). Never stored.",
    )

    @field_validator("caption_encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        """A text encoding that Python has."""
        try:
            if value is not None:
                "".encode(value)
        except LookupError:
            raise ValueError(
                f"unknown text encoding {value!r}; examples: cp1252, shift_jis, utf-16-le"
            ) from None
        return value


class IngestSettings(FetchSettings, SourceSettings):
    """The section `ingest` of a configuration."""

    def for_claim(self) -> dict[str, Any]:
        """Those settings that building a shard needs; they go into its claim."""
        names = {"max_bytes", "timeout_s", "retries", "threads", "allow_hosts"}
        # Claims without it are those that were made before there was such a setting.
        names |= {"caption_encoding"} if self.caption_encoding is not None else set()
        names |= {"picture_column"} if self.picture_column is not None else set()
        return {**self.model_dump(mode="json", include=names), **self.said()}
