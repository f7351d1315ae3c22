"""Properties of the file, from its header.

| column | range | meaning |
|---|---|---|
| format | - | by signature: jpeg, png, webp, avif, gif, bmp, tiff, heif, jp2 |
| declared | - | the format that the file name's extension stands for; null if unknown |
| mislabelled | - | whether `declared` differs from `format` |
| width, height | 1.. pixels | size with the orientation applied |
| mode | - | Pillow's name of the stored mode: RGB, L, CMYK, P, RGBA, I;16... |
| frames | 1..10,000 | frames of an animation, pages of a TIFF; 1 for a still picture |
| orientation | 1..8 | EXIF 2.32, tag 274, as stored |
| has_icc, has_alpha | - | an embedded colour profile; possible transparency |
| truncated | - | the file ends before its end marker or size, but has all pixels |
| bytes | 1.. bytes | size of the file |
| bytes_per_pixel | 0.. | bytes over width x height; 0.013 for 1024x768 in 10 KB |
| aspect | 1.. | long side over short side |
"""

from typing import Any

import pyarrow as pa

from nucleus_data.pixels import Picture, declared_format
from nucleus_data.signals.group import SignalGroup


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """Computes the columns of the table above for one picture."""
    header = picture.header
    declared = declared_format(filename)
    return {
        "format": header.format,
        "declared": declared,
        "mislabelled": declared is not None and declared != header.format,
        "width": header.width,
        "height": header.height,
        "mode": header.mode,
        "frames": header.frames,
        "orientation": header.orientation,
        "has_icc": header.has_icc,
        "has_alpha": header.has_alpha,
        "truncated": header.truncated,
        "bytes": header.bytes,
        "bytes_per_pixel": header.bytes / (header.width * header.height),
        "aspect": max(header.width, header.height) / min(header.width, header.height),
    }


group = SignalGroup(
    name="file",
    version=2,
    schema=pa.schema(
        [
            ("format", pa.string()),
            ("declared", pa.string()),
            ("mislabelled", pa.bool_()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("mode", pa.string()),
            ("frames", pa.int32()),
            ("orientation", pa.int8()),
            ("has_icc", pa.bool_()),
            ("has_alpha", pa.bool_()),
            ("truncated", pa.bool_()),
            ("bytes", pa.int64()),
            ("bytes_per_pixel", pa.float32()),
            ("aspect", pa.float32()),
        ]
    ),
    measure=measure,
)
