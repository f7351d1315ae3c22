"""What a person says about a source of pictures."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nucleus_data.stages.ingest.fetch_settings import FetchSettings

Kind = Literal["folder", "tars", "img2dataset", "urls", "embedded"]


class SourceSettings(BaseModel):
    """Those settings of the section `ingest` that say what the source is."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: str = Field(
        "",
        description="Path or URL of a folder of images, or of one image; a .tar, a glob "
        "(`d/*.tar`), a numbered range (`d/{00000..00009}.tar`) or a folder of tars; an output "
        "folder of img2dataset; tables with the pictures inside (Parquet of a dataset hub, a "
        "folder of the package datasets); or a URL list (.parquet, .csv, .tsv, .jsonl, .txt, also "
        "with .gz or .zst behind, a glob of those, or a folder of .parquet).",
    )
    kind: Literal["auto", "folder", "tars", "img2dataset", "urls", "embedded"] = Field(
        "auto",
        description="What the source is; `auto` looks. `embedded`: tables with pictures inside.",
    )
    name: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Name of the source, a part of every record's id. By default the last "
        "component of the path. The same name and the same key are the same record.",
    )
    captions: str | None = Field(
        None,
        description="Parquet or CSV with a file name column (path relative to the folder) and a "
        "caption column; its other columns become `source.NAME`. For folders.",
    )
    file_column: str | None = Field(
        None, description="File name column of `captions`; by default one of file, file_name, …"
    )
    caption_column: str | None = Field(
        None,
        description="Caption column of `captions` or of the URL list; by default caption, text.",
    )
    caption_encoding: str | None = Field(
        None,
        description="Encoding (`cp1252`, `shift_jis`, …) of caption files and lists that have no "
        "byte-order mark and are no UTF-8. By default none: such a caption is counted, not taken.",
    )
    url_column: str | None = Field(
        None, description="URL column of a URL list; by default one of url, image_url."
    )
    picture_column: str | None = Field(
        None,
        description="Column of pictures of tables that hold them; by default one of image, img, …",
    )
    columns: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Names of the columns of a CSV or TSV without a header line, in their order: "
        "[caption, url].",
    )
    compare_bytes: bool = Field(
        False,
        description="Read all pictures and captions that the corpus has already, to say which "
        "changed; by default those alone whose size or time is another one.",
    )
    images_per_shard: int = Field(
        10_000, ge=1, le=1_000_000, description="Upstream rows in one image shard, at most."
    )
    bytes_per_shard: int = Field(
        1_000_000_000, ge=1, description="Image bytes in one image shard, at most (where known)."
    )
    max_bytes: int = Field(
        256 << 20, ge=1, description="A larger image file is not kept: its record says too_large."
    )
    storage_options: dict[str, Any] = Field(
        default_factory=dict, description="Passed to fsspec for the source. Never stored."
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
                f"no text encoding is called {value!r}; examples: cp1252, shift_jis, utf-16-le"
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
