"""Decodes pictures, for every stage, the training loader and the report; independent of Ray.

    picture = open_picture(data)            # the header only; raises PixelError
    picture.header.width, picture.header.frames
    picture.luma_full                       # HxW, full size: sharpness
    picture.small                           # HxWx3 sRGB, averaged to 256 pixels: hashes, tone
    picture.rgb(max_side=1024)              # HxWx3 sRGB: captioners
    picture.reduced(448)                    # HxWx3 sRGB, at the decoder's own scale: embedding
    picture.rgb(crop=(0, 10, 512, 522), size=(256, 256))    # training

The header is read first: the format by its signature, dimensions (which are checked against
limits), frames, orientation. Pixels are then rotated upright, composed over white (or grey, if
white would hide them: `colour.ground`), reduced to 8 bits and converted to sRGB. A damaged file
raises a `PixelError` with a reason code, and is never a picture with a grey lower half. A file in
which only the end is missing is read, and has `Header.truncated`. Files are never written or
re-encoded.

| the file | reason codes |
|---|---|
| is not a picture of a known format | empty, not_an_image, unknown_format |
| is a picture that is not supported | unsupported_format, unsupported_mode, needs_heif |
| exceeds a limit | too_many_bytes, too_many_pixels, too_extreme, too_costly |
| is damaged | truncated, corrupt, damaged_data |

`Reason` documents the codes. A file whose extension is that of another format is read as well, and
has the signal `mislabelled`.
"""

from nucleus_data.pixels.errors import PixelError, Reason
from nucleus_data.pixels.header import INSPECTED, PILLOW_MAX_PIXELS, Header, Limits
from nucleus_data.pixels.opening import open_picture
from nucleus_data.pixels.picture import SMALL_SIDE, Picture, fit
from nucleus_data.pixels.sniff import declared_format, is_picture
from nucleus_data.pixels.thumbnail import thumbnail_jpeg

__all__ = [
    "INSPECTED",
    "PILLOW_MAX_PIXELS",
    "SMALL_SIDE",
    "Header",
    "Limits",
    "Picture",
    "PixelError",
    "Reason",
    "declared_format",
    "fit",
    "is_picture",
    "open_picture",
    "thumbnail_jpeg",
]
