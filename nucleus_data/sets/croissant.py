"""The card in machine-readable form: MLCommons' Croissant (JSON-LD), by the package `mlcroissant`.

Up to 1,000 files are listed one by one, with their SHA-256. Of more, only a glob pattern is given:
for a set of full size, the list would be larger than catalogues accept.
"""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from nucleus_data.errors import RequestError
from nucleus_data.sets.card import Shown
from nucleus_data.sets.features import IMAGE

CROISSANT = "croissant.json"
MOST_FILES = 1000
NEEDED = (
    "croissant.json was not written: it needs mlcroissant; run: pip install 'nucleus-data[card]', "
    "and the same command again"
)
KEY = r"([^/]*)\.[^.]+$"  # a sample's key: the member's name without its suffix
TYPES = {"jpg": "image/jpeg", "webp": "image/webp", "png": "image/png", "avif": "image/avif"}


def croissant(shown: Shown, files: Mapping[str, str]) -> bytes:
    """Renders the card as JSON-LD; the same set gives the same bytes.

    Args:
        shown: The content of the card.
        files: Path of a file below the folder -> SHA-256.

    Raises:
        RequestError: mlcroissant is not installed.
    """
    try:
        import mlcroissant
    except ImportError as error:
        raise RequestError(NEEDED) from error

    made = _Maker(mlcroissant, shown, files)
    metadata = mlcroissant.Metadata(
        name=shown.name,
        description=f"Pictures and captions: the set {shown.name} {shown.hash}.",
        version="1.0.0",
        license=[licence for licence in shown.facts.licences if licence] or ["other"],
        distribution=[part for r in shown.resolutions for part in made.distribution(r)],
        record_sets=[made.records(r) for r in shown.resolutions],
    )
    text = json.dumps(metadata.to_json(), indent=1, sort_keys=True, ensure_ascii=False, default=str)
    return text.encode()


class _Maker:
    """Makes the parts of a Croissant description.

    Args:
        package: The module `mlcroissant`.
        shown: The content of the card.
        files: Path of a file below the folder -> SHA-256.
    """

    def __init__(self, package: Any, shown: Shown, files: Mapping[str, str]) -> None:
        self.package = package
        self.shown = shown
        self.files = files
        self.listed = len(files) <= MOST_FILES
        self.pictures = [f.name for f in shown.fields if f.type.equals(IMAGE)]

    def distribution(self, resolution: int) -> list[Any]:
        """Returns the files of a resolution, and the kinds of members in its tars."""
        make = self.package
        parquet = self.shown.kind == "parquet"
        form = "application/x-parquet" if parquet else "application/x-tar"
        mine = [path for path in self.files if path.startswith(f"{resolution}/")]
        found: list[Any] = []
        if parquet or not self.listed:
            found.append(
                make.FileSet(
                    id=self._set(resolution),
                    name=self._set(resolution),
                    description=f"All files of resolution {resolution}.",
                    encoding_formats=[form],
                    includes=[f"{resolution}/*/*.{self.shown.suffix}"],
                )
            )
        if parquet:
            return found
        if self.listed:
            found += [
                make.FileObject(
                    id=path,
                    name=path,
                    description="",
                    content_url=path,
                    encoding_formats=[form],
                    sha256=self.files[path],
                )
                for path in mine
            ]
        for ending in self.pictures:
            found.append(
                make.FileSet(
                    id=f"{ending}-{resolution}",
                    name=f"{ending}-{resolution}",
                    description="The pictures in the tars.",
                    contained_in=mine if self.listed else [self._set(resolution)],
                    encoding_formats=[TYPES.get(ending, f"image/{ending}")],
                    includes=[f"*.{ending}"],
                )
            )
        return found

    def records(self, resolution: int) -> Any:
        """Returns the record set of a resolution: the fields of a sample."""
        name = f"samples-{resolution}"
        fields = (
            [self._column(name, resolution, field) for field in self.shown.fields]
            if self.shown.kind == "parquet"
            else [field for e in self.pictures for field in self._members(name, resolution, e)]
        )
        return self.package.RecordSet(id=name, name=name, fields=fields)

    def _set(self, resolution: int) -> str:
        return f"files-{resolution}"

    def _column(self, name: str, resolution: int, field: pa.Field) -> Any:
        """Returns the field of a column of Parquet files."""
        make = self.package
        picture = field.type.equals(IMAGE)
        several = pa.types.is_list(field.type)
        return make.Field(
            id=f"{name}/{field.name}",
            name=field.name,
            description="",
            data_types=[self._type(field.type)],
            is_array=True if several else None,
            array_shape="-1" if several else None,
            source=make.Source(
                file_set=self._set(resolution),
                extract=make.Extract(column=field.name),
                transforms=[make.Transform(json_path="bytes")] if picture else [],
            ),
        )

    def _members(self, name: str, resolution: int, ending: str) -> list[Any]:
        """Returns the fields `id` and `image` of tars whose pictures have a given suffix."""
        make, files = self.package, f"{ending}-{resolution}"
        prefix = f"{name}/" if len(self.pictures) == 1 else f"{name}/{ending}-"
        return [
            make.Field(
                id=f"{prefix}id",
                name="id",
                description="",
                data_types=[make.DataType.TEXT],
                source=make.Source(
                    file_set=files,
                    extract=make.Extract(file_property=make.FileProperty.filename),
                    transforms=[make.Transform(regex=KEY)],
                ),
            ),
            make.Field(
                id=f"{prefix}image",
                name="image",
                description="",
                data_types=[make.DataType.IMAGE_OBJECT],
                source=make.Source(
                    file_set=files,
                    extract=make.Extract(file_property=make.FileProperty.content),
                ),
            ),
        ]

    def _type(self, kind: pa.DataType) -> Any:
        types = self.package.DataType
        if kind.equals(IMAGE):
            return types.IMAGE_OBJECT
        if pa.types.is_list(kind):
            return self._type(kind.value_type)
        if pa.types.is_integer(kind):
            return types.INTEGER
        if pa.types.is_floating(kind):
            return types.FLOAT
        return types.BOOL if pa.types.is_boolean(kind) else types.TEXT
