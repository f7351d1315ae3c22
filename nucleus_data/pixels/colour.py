"""Converts stored pixels to 8-bit sRGB: bit depth, palettes, transparency, colour profiles.

`ground` decides how a transparent picture looks in every view, and thus in every signal, hash,
vector, caption and training set. It is composed over white, or over mid-grey if white would hide
it. Black is not used, since dark outlines and shadows of light drawings would disappear.
"""

import io
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from nucleus_data.pixels.errors import PixelError, Reason

_BAND_PIXELS = 2**22
WHITE, GREY = 255, 128
# Minimum difference from white, in levels, to be visible: the step that `sharpness` takes for an
# edge.
_STANDS_OUT = 28
_MOST_HIDDEN = 0.03  # maximum share of visible pixels of a picture that white would hide
_PLAIN = ("L", "RGB", "CMYK")
_PROFILE_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}


def flatten(image: Image.Image) -> Image.Image:
    """Converts a decoded picture to an opaque one with 8 bits per channel.

    16-bit grey is scaled (65535 becomes 255), palettes are resolved, alpha is composed over
    `ground`.

    Args:
        image: A loaded picture of any mode.

    Returns:
        The picture in mode L, RGB or CMYK.

    Raises:
        PixelError: UNSUPPORTED_MODE, for modes without a defined white (float, LAB).
    """
    if image.mode.startswith("I"):
        return _from_16_bit(image)
    if image.has_transparency_data:
        return _over_ground(image)
    if image.mode in _PLAIN:
        return image
    if image.mode in ("F", "LAB"):
        raise PixelError(Reason.UNSUPPORTED_MODE, f"mode {image.mode}")
    return image.convert("L" if image.mode == "1" else "RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Converts modes I;16 (in all byte orders) and I, whose values Pillow keeps in 0..65535."""
    canvas = Image.new("L", image.size)
    for part, top in _bands(image):
        values = np.clip(np.asarray(part), 0, 65535).astype(np.uint32)
        canvas.paste(Image.fromarray(((values + 128) // 257).astype(np.uint8)), (0, top))
    return canvas


def _over_ground(image: Image.Image) -> Image.Image:
    opaque = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    level = ground(image)
    canvas = Image.new(opaque, image.size, level if opaque == "L" else (level,) * 3)
    for part, top in _bands(image):
        layered = part.convert("LA" if opaque == "L" else "RGBA")
        canvas.paste(layered.convert(opaque), (0, top), layered.getchannel("A"))
    return canvas


def ground(image: Image.Image) -> int:
    """Returns the grey level over which a transparent picture is composed.

    Args:
        image: A loaded picture with transparency.

    Returns:
        `GREY` if less than 3 % of the pixels would be visible over white, and more than half of the
        pixels (weighted by opacity) are themselves nearly white; otherwise `WHITE`.
    """
    seen, drawn, light = 0, 0, 0
    for part, _ in _bands(image):
        layered = part.convert("RGBA")
        alpha = np.asarray(layered.getchannel("A"), np.uint16)
        darkness = 255 - np.asarray(layered.convert("RGB").convert("L"), np.uint16)
        seen += int(np.count_nonzero(alpha * darkness >= _STANDS_OUT * 255))
        if seen >= _MOST_HIDDEN * image.width * image.height:
            return WHITE
        drawn += int(alpha.sum(dtype=np.int64))
        light += int(alpha[darkness < _STANDS_OUT].sum(dtype=np.int64))
    return GREY if 2 * light > drawn else WHITE


def _bands(image: Image.Image) -> Iterator[tuple[Image.Image, int]]:
    """Yields bands of about 4 million pixels, each with the number of its first row.

    Conversions hold several copies at once; for a whole picture of 64 million pixels, they would
    need more than 1 GB.
    """
    rows = max(1, _BAND_PIXELS // image.width)
    if rows >= image.height:
        yield image, 0
        return
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height))), top


def by_bands(
    image: Image.Image, convert: Callable[[Image.Image], Image.Image]
) -> NDArray[np.uint8]:
    """Converts a picture in bands, without holding more than two copies of the result.

    Args:
        image: A loaded picture.
        convert: A pixel-wise conversion that does not change the size.

    Returns:
        uint8[H, W] or uint8[H, W, C], depending on the converted mode.
    """
    pixels: NDArray[np.uint8] | None = None
    for part, top in _bands(image):
        band = np.asarray(convert(part))
        if band.shape[0] == image.height:
            return np.array(band)
        if pixels is None:
            pixels = np.empty((image.height, *band.shape[1:]), np.uint8)
        pixels[top : top + len(band)] = band
    assert pixels is not None
    return pixels


def to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Converts a picture to sRGB, using its colour profile if there is a usable one.

    As in browsers, a profile that is damaged or for other channels than the picture's is ignored.

    Args:
        image: A picture in mode L, RGB or CMYK.
        icc: The embedded profile; None for sRGB (grey and CMYK are then converted by Pillow's
            simple formulas).

    Returns:
        The picture in mode RGB.
    """
    transform = _transform(icc, image.mode) if icc else None
    if transform is not None:
        return ImageCms.applyTransform(image, transform) or image
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=16)
def _transform(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Makes the transform from a profile to sRGB (slow); None if the profile is unusable."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if profile.profile.xcolor_space.strip() != _PROFILE_SPACES[mode]:
            return None
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
