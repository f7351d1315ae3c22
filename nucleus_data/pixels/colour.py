"""From what a file stores to 8-bit sRGB: bit depth, palettes, transparency, colour profiles.

**What the picture of a transparent file is** is decided here, by `ground`, for every view and so
for every signal, hash, vector, caption and training set: what it shows over white; over mid-grey
where white would swallow it. Not black: dark outlines and shadows of light drawings would go.
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
# A step of 28 levels is an edge (`sharpness`); less than that from white, nothing stands out of it.
_STANDS_OUT = 28
_MOST_HIDDEN = 0.03  # the share of a picture that stands out of white at most, of one it swallows
_PLAIN = ("L", "RGB", "CMYK")
_PROFILE_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}


def flatten(image: Image.Image) -> Image.Image:
    """Makes a decoded picture opaque, with 8 bits a channel.

    16-bit grey is scaled (65535 becomes 255), palettes are resolved, alpha is laid over a ground.

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
    """Modes I;16 (and its byte orders) and I, whose values Pillow keeps in 0..65535."""
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
    """The grey level of what a transparent picture is laid over.

    Args:
        image: A loaded picture with transparency.

    Returns:
        `WHITE`; or `GREY`, if under 3 % of the pixels would stand out of white, and over half of
        what is drawn (weighed by its opacity) is that light itself.
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
    """The picture in parts of some million pixels, each with its first row's number.

    Conversions hold several copies at once: at 64 million pixels, of the whole they would need more
    than 1 GB.
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
    """The converted picture's pixels, HxW or HxWxC, without ever holding more than them twice.

    Args:
        image: A loaded picture.
        convert: Works pixel by pixel; does not change the size.
    """
    pixels: NDArray[np.uint8] | None = None
    for part, top in _bands(image):
        found = np.asarray(convert(part))
        if found.shape[0] == image.height:
            return np.array(found)
        if pixels is None:
            pixels = np.empty((image.height, *found.shape[1:]), np.uint8)
        pixels[top : top + len(found)] = found
    assert pixels is not None
    return pixels


def to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Converts to sRGB, by the picture's profile where it has one that fits.

    A profile that is damaged, or made for other channels than the picture has, is ignored, as
    browsers do.

    Args:
        image: Mode L, RGB or CMYK.
        icc: The embedded profile, or None for sRGB (grey and CMYK then by Pillow's plain formulas).

    Returns:
        The picture in mode RGB.
    """
    transform = _transform(icc, image.mode) if icc else None
    if transform is not None:
        return ImageCms.applyTransform(image, transform) or image
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=16)
def _transform(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform from a profile to sRGB (slow, hence cached); None if it is of no use."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if profile.profile.xcolor_space.strip() != _PROFILE_SPACES[mode]:
            return None
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
