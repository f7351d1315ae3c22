"""A picture's header, which is known before pixels are decoded, and the limits on it."""

from dataclasses import dataclass

from nucleus_data.pixels.errors import PixelError, Reason

_HEAVY_FORMATS = ("avif", "webp", "heif", "jp2")  # about twice the memory per pixel


@dataclass(frozen=True)
class Limits:
    """Limits that are checked with the header, before pixels are decoded.

    Attributes:
        max_pixels: Maximum of width times height. For CMYK, WebP, AVIF, HEIF and JPEG 2000, which
            need more memory per pixel, half of it applies. Measured at the default with all views
            and signals, for 11 kinds of files: a process of 0.25 GB grows to 0.6 to 0.92 GB, and
            takes 1 to 3.1 s of one core. In addition to the process and the file, this is 11 bytes
            per pixel for a progressive JPEG, 10 for a baseline JPEG, 10 for PNG, GIF, BMP and TIFF,
            14 for CMYK, 12 for AVIF and HEIF, 18 for WebP, and 25 for a transparent JPEG 2000.
        max_bytes: Maximum size of the file in bytes.
        max_aspect: Maximum of long side over short side.
    """

    max_pixels: int = 50_000_000
    max_bytes: int = 2**27
    max_aspect: float = 1000.0


DEFAULT_LIMITS = Limits()
# Above this size, Pillow's own check rejects some formats regardless of `Limits`.
PILLOW_MAX_PIXELS = 178_956_970
# For pictures that `inspect` has already accepted; no stricter than any setting of `inspect`.
INSPECTED = Limits(2 * PILLOW_MAX_PIXELS, max_bytes=2**63, max_aspect=float("inf"))


@dataclass(frozen=True)
class Header:
    """Properties of a file that are known without decoding pixels.

    Attributes:
        format: Format by signature: jpeg, png, webp, avif, gif, bmp, tiff, heif or jp2.
        width: Width in pixels, with the EXIF orientation applied.
        height: Height in pixels, with the EXIF orientation applied.
        mode: Pillow's name of the stored mode: RGB, L, CMYK, P, RGBA, I;16...
        frames: Number of frames of an animation or pages of a TIFF (at most 10,000 are counted);
            the views show the first.
        orientation: EXIF orientation as stored, 1 to 8.
        has_icc: Whether a colour profile is embedded (even an unusable one).
        has_alpha: Whether pixels may be transparent; the views compose them over `colour.ground`.
        quantisation: Quantisation table of a JPEG's first component, 64 factors of one or two
            bytes, in zigzag order; None for other formats.
        bytes: Size of the file in bytes.
        truncated: Whether the file ends before its end marker or its stated size. If a view can be
            decoded, all pixels of the first frame are present nevertheless.
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
    """Rejects a picture that is too large or too elongated.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        limits: The limits.
        file_format: Format, as from `sniff`.
        mode: Pillow's name of the stored mode.

    Raises:
        PixelError: CORRUPT (a side is below 1), TOO_MANY_PIXELS or TOO_EXTREME.
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
