"""Opens a picture: detects its format and checks its header, without decoding pixels."""

from nucleus_data.pixels.boxes import read_jp2
from nucleus_data.pixels.containers import webp_size
from nucleus_data.pixels.errors import PixelError, Reason
from nucleus_data.pixels.exif import read_orientation, swaps_sides
from nucleus_data.pixels.header import DEFAULT_LIMITS, Header, Limits, check_size
from nucleus_data.pixels.jpeg import read_jpeg_header
from nucleus_data.pixels.picture import Picture
from nucleus_data.pixels.pillow_files import open_file, orientation_before
from nucleus_data.pixels.sniff import sniff
from nucleus_data.pixels.sources import JpegSource, PillowSource


def open_picture(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Picture:
    """Reads a picture's header; pixels are decoded when a view is first used.

    Args:
        data: The whole file.
        limits: Limits of the file and its picture.

    Raises:
        PixelError: The file can't be read, or exceeds a limit. No other exception is raised,
            whatever the bytes are.
    """
    if len(data) > limits.max_bytes:
        raise PixelError(Reason.TOO_MANY_BYTES, f"{len(data)}, allowed {limits.max_bytes}")
    file_format = sniff(data)
    if file_format == "jpeg":
        return _open_jpeg(data, limits)
    # Checked before Pillow opens the file, since the WebP decoder allocates all pixels on opening.
    size = webp_size(data) if file_format == "webp" else None
    if size is not None:
        check_size(*size, limits, "webp")
    jp2 = read_jp2(data) if file_format == "jp2" else None
    if jp2 is not None:
        check_size(*jp2.size, limits, "jp2")
    opened = open_file(data, file_format)
    image = opened.image
    exif, icc = image.info.get("exif"), image.info.get("icc_profile")
    size = image.size
    if jp2 is not None:
        if size != jp2.size:
            raise PixelError(Reason.CORRUPT, f"{size} in its header, {jp2.size} in its codestream")
        orientation, icc = jp2.orientation, jp2.icc
        turn = orientation
    elif file_format in ("tiff", "heif"):
        # Pillow rotates a TIFF upright by itself, as libheif does a HEIF, and gives the size
        # after the rotation.
        orientation, turn = orientation_before(image, file_format), 1
    else:
        orientation = turn = read_orientation(exif if isinstance(exif, bytes) else None)
    width, height = size[::-1] if swaps_sides(turn) else size
    check_size(width, height, limits, file_format, image.mode)
    header = Header(
        format=file_format,
        width=width,
        height=height,
        mode=image.mode,
        frames=opened.frames,
        orientation=orientation,
        has_icc=bool(icc),
        has_alpha=image.has_transparency_data,
        quantisation=None,
        bytes=len(data),
        truncated=opened.truncated,
    )
    source = PillowSource(opened, file_format, data)
    return Picture(header, data, source, turn, icc if isinstance(icc, bytes) and icc else None)


def _open_jpeg(data: bytes, limits: Limits) -> Picture:
    """Opens a JPEG, with this package's header parser instead of Pillow's."""
    jpeg = read_jpeg_header(data)
    orientation = read_orientation(jpeg.exif)
    width, height = jpeg.width, jpeg.height
    if swaps_sides(orientation):
        width, height = height, width
    check_size(width, height, limits, "jpeg", jpeg.mode)
    header = Header(
        format="jpeg",
        width=width,
        height=height,
        mode=jpeg.mode,
        frames=1,
        orientation=orientation,
        has_icc=jpeg.icc is not None,
        has_alpha=False,
        quantisation=jpeg.quantisation,
        bytes=len(data),
        truncated=jpeg.truncated,
    )
    return Picture(header, data, JpegSource(data, jpeg), orientation, jpeg.icc)
