"""The stage `inspect`: cheap signals of every image, on the CPU.

Each group of signals has a table of its own, `inspect.<group>`. One decode of an image fills every
group that its row still lacks, so a group that is added later costs its own measuring and nothing
else. The whole file is decoded whatever groups are wanted: whether an image counts as truncated
must not depend on them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nucleus_data import pixels, signals
from nucleus_data.pixels import PILLOW_MAX_PIXELS, Limits, PixelError, Reason, open_picture
from nucleus_data.runner.compiled import MESSAGE, compiles
from nucleus_data.runner.outcomes import raised
from nucleus_data.signals import SignalGroup, is_built_in, load_group
from nucleus_data.stage import Result, Row, RowFailure, RowStage, TableSpec

_DEFAULTS = Limits()


class InspectSettings(BaseModel):
    """Settings of `inspect`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    signals: tuple[str, ...] = Field(
        default=(
            *("file", "tone", "detail", "hash", "colour", "sharpness", "compression", "layout"),
            "resampling",
        ),
        min_length=1,
        description="Groups of signals to measure: built-in names, or package.module:attribute "
        "for your own.",
    )
    max_pixels: int = Field(
        default=_DEFAULTS.max_pixels,
        ge=1,
        le=PILLOW_MAX_PIXELS,
        description="Maximum pixels of an image (width times height), half of that for WebP, "
        "AVIF, HEIC, JPEG 2000 and CMYK; larger ones are not decoded.",
    )
    max_bytes: int = Field(
        default=_DEFAULTS.max_bytes,
        ge=1,
        description="Maximum size of a file, in bytes; larger ones are not decoded.",
    )
    max_aspect: float = Field(
        default=_DEFAULTS.max_aspect,
        ge=1,
        description="Maximum ratio of an image's long side to its short side; images above it are "
        "not decoded.",
    )


PIXELS = Path(pixels.__file__).with_name("kernels.py")
SIGNALS = Path(signals.__file__).parent
# What a group always compiles; not all of a module's functions are used by each picture.
COMPILED = {"tone": "small.py", "hash": "grid.py", "resampling": "kernels.py"}
DECLARED = "records:source.extension"


class Inspect(RowStage[InspectSettings]):
    """Measures every group of signals of an image that its row lacks."""

    name = "inspect"
    help = "Decode every image once, and measure its signals."
    readable = True
    keeps_details = True
    Settings = InspectSettings
    # In the corpus's tars members carry their true extension; this is the one that upstream gave.
    columns = (DECLARED,)

    def __init__(self, settings: InspectSettings) -> None:
        """Imports the groups.

        Raises:
            ValueError: If a group can't be loaded, or two have one name.
        """
        super().__init__(settings)
        self._limits = Limits(settings.max_pixels, settings.max_bytes, settings.max_aspect)
        self._groups: dict[str, tuple[str, SignalGroup]] = {}
        self._sources: list[Path] = []
        for path in settings.signals:
            group = load_group(path)
            table = f"inspect.{group.name}"
            if table in self._groups:
                raise ValueError(
                    f"inspect.signals: {self._groups[table][0]!r} and {path!r} are both named"
                    f" {group.name!r}; names must be unique"
                )
            self._groups[table] = (path, group)
            if group.name in COMPILED:
                self._sources.append(SIGNALS / COMPILED[group.name])

    def tables(self) -> Sequence[TableSpec]:
        """One table a group. Its hash holds the limits (they make failures) and a user's path."""
        limits: dict[str, Any] = {
            "max_pixels": self._limits.max_pixels,
            "max_bytes": self._limits.max_bytes,
            "max_aspect": self._limits.max_aspect,
        }
        return [
            TableSpec(
                table,
                group.schema,
                group.version,
                settings=limits if is_built_in(path) else {**limits, "group": path},
                inputs=("records",),
            )
            for table, (path, group) in self._groups.items()
        ]

    def first_use(self) -> str | None:
        """That numba compiles, if it will."""
        return MESSAGE if compiles([PIXELS, *self._sources]) else None

    def process(self, rows: Iterator[Row]) -> Iterator[Result | RowFailure]:
        """One result or failure a row, in the rows' order."""
        for row in rows:
            yield self._inspect(row)

    def _inspect(self, row: Row) -> Result | RowFailure:
        """Measures one picture with every group whose table lacks it."""
        try:
            self.doing("the decoder")
            picture = open_picture(row.image or b"", self._limits)
            picture.luma_full  # noqa: B018 - decodes all of it
        except PixelError as error:
            # What an extra reads is read once it is installed.
            missing = error.reason is Reason.NEEDS_HEIF
            return RowFailure(row, error.reason.value, error.detail, retryable=missing)
        extension = row.columns.get(DECLARED)
        filename = f"{row.id}.{extension}" if extension else row.file
        values: dict[str, dict[str, Any]] = {}
        for table, (_, group) in self._groups.items():
            if table not in row.wanted:
                continue
            self.doing(table)
            try:
                values[table] = dict(group.measure(picture, filename))
            except PixelError as error:
                return RowFailure(row, error.reason.value, error.detail)
            # Too little memory is no fault of the picture: the runner notes it as what may pass.
            except MemoryError:
                raise
            except Exception as error:  # a bug in a user's group fails its own table
                values[table] = {"error": "inspect_error", "detail": raised(error)}
        return Result(row, values)
