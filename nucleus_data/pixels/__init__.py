"""The one decoder: used by every stage, the training loader and the report. Knows nothing of Ray.

    picture = open_picture(data)            # the header only; raises PixelError
    picture.header.width, picture.header.frames
    picture.luma_full                       # HxW, full size: sharpness
    picture.small                           # HxWx3 sRGB, averaged to 256 pixels: hashes, tone
    picture.rgb(max_side=1024)              # HxWx3 sRGB: captioners
    picture.reduced(448)                    # HxWx3 sRGB, at the decoder's own scale: embedding
    picture.rgb(crop=(0, 10, 512, 522), size=(256, 256))    # training

Headers come first: format by signature, dimensions against limits, frames, orientation. Then pixels
are turned upright, laid over white (grey, where white would hide them: `colour.ground`), reduced to
8 bits and converted to sRGB. A damaged file is a `PixelError` with a reason code, never a picture
with a grey lower half. A file that lacks its end alone is read, and `Header.truncated` tells. Files
are read only, never written or re-encoded.

| the file | reason codes |
|---|---|
| is no picture of a known kind | empty, not_an_image, unknown_format |
| is a picture that is not read | unsupported_format, unsupported_mode, needs_heif |
| is too much | too_many_bytes, too_many_pixels, too_extreme, too_costly |
| is broken | truncated, corrupt, damaged_data |

`Reason` says what each means. A file whose name promises another format is read all the same; the
signal `mislabelled` tells.
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
