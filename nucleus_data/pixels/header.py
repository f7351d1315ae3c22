"""What a picture's header tells before any pixel is decoded, and what is refused by it."""

from dataclasses import dataclass

from nucleus_data.pixels.errors import PixelError, Reason

_HEAVY_FORMATS = ("avif", "webp", "heif", "jp2")  # twice the memory a pixel


@dataclass(frozen=True)
class Limits:
    """What is refused by the header alone, before any pixel is decoded.

    Attributes:
        max_pixels: Width times height. Half as many are allowed in CMYK, WebP, AVIF, HEIF and
            JPEG 2000, which take more memory a pixel. Measured at the default, all views and
            signals, 11 kinds of files: a process of 0.25 GB grows to 0.6 to 0.92 GB and takes 1 to
            3.1 s of one core. Beside the process and the file these are 11 bytes a pixel in a
            progressive JPEG, 10 in a baseline one, 10 in PNG, GIF, BMP and TIFF, 14 in CMYK, 12 in
            AVIF and HEIF, 18 in WebP, 25 in a transparent JPEG 2000.
        max_bytes: Size of the file.
        max_aspect: Long side over short side.
    """

    max_pixels: int = 50_000_000
    max_bytes: int = 2**27
    max_aspect: float = 1000.0


DEFAULT_LIMITS = Limits()
# Above it Pillow's own check refuses some formats whatever ours says.
PILLOW_MAX_PIXELS = 178_956_970
# For pictures that `inspect` has read, within its own settings: any that it can be told to read.
INSPECTED = Limits(2 * PILLOW_MAX_PIXELS, max_bytes=2**63, max_aspect=float("inf"))


@dataclass(frozen=True)
class Header:
    """What a file says of itself, and what was found in it.

    Attributes:
        format: By its signature: jpeg, png, webp, avif, gif, bmp, tiff, heif or jp2.
        width: Pixels, after the EXIF orientation is applied.
        height: Pixels, after the EXIF orientation is applied.
        mode: Pillow's name of the stored mode: RGB, L, CMYK, P, RGBA, I;16...
        frames: Frames of an animation or pages of a TIFF (at most 10,000 are counted); the views
            show the first.
        orientation: EXIF orientation as stored, 1 to 8.
        has_icc: Whether a colour profile is embedded (even one that is of no use).
        has_alpha: Whether anything may be transparent; the views lay it over a ground
            (`colour.ground`).
        quantisation: Of a JPEG: the quantisation table of its first component, 64 factors of one or
            of two bytes, in zigzag order; None for other formats.
        bytes: Size of the file.
        truncated: Whether the file ends before its own end (a marker, or the size that it tells).
            If a view can be decoded, all pixels of the first frame are there all the same.
    """

    format: str
    width: int
    height: int
    mode: str
    frames: int
    orientation: int
    has_icc: bool
    has_alpha: bool
    quantisation: bytes | None
    bytes: int
    truncated: bool


def check_size(
    width: int, height: int, limits: Limits, file_format: str, mode: str = "RGB"
) -> None:
    """Refuses a picture that is too large or too long, given its size in pixels.

    Raises:
        PixelError: CORRUPT, TOO_MANY_PIXELS or TOO_EXTREME.
    """
    found = f"{width}x{height}"
    if width < 1 or height < 1:
        raise PixelError(Reason.CORRUPT, f"a picture of {found} pixels")
    allowed = limits.max_pixels
    if file_format in _HEAVY_FORMATS or mode == "CMYK":
        allowed //= 2
    if width * height > allowed:
        raise PixelError(
            Reason.TOO_MANY_PIXELS,
            f"{found}, allowed {allowed} pixels in all ({file_format}, {mode})",
        )
    if max(width, height) > limits.max_aspect * min(width, height):
        raise PixelError(Reason.TOO_EXTREME, f"{found}, allowed 1:{limits.max_aspect:g}")
