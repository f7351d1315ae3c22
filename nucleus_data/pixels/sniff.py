"""Detects a file's format by its first bytes; extensions and media types are never trusted."""

from nucleus_data.pixels.errors import PixelError, Reason

_EXTENSIONS = {
    "jpg": "jpeg",
    "jpeg": "jpeg",
    "jpe": "jpeg",
    "jfif": "jpeg",
    "pjpeg": "jpeg",
    "pjp": "jpeg",
    "mpo": "jpeg",
    "png": "png",
    "apng": "png",
    "webp": "webp",
    "avif": "avif",
    "gif": "gif",
    "bmp": "bmp",
    "dib": "bmp",
    "tif": "tiff",
    "tiff": "tiff",
    "heic": "heif",
    "heif": "heif",
    "hif": "heif",
    "jp2": "jp2",
    "j2k": "jp2",
    "j2c": "jp2",
    "jpc": "jp2",
    "jpf": "jp2",
    "jpx": "jp2",
}

_SIGNATURES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
)
_UNSUPPORTED = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"qoif", "QOI"),
    (b"8BPS", "Photoshop"),
    (b"\0\0\1\0", "ICO"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"DDS ", "DDS"),
    (b"icns", "ICNS"),
)
_OTHER_FILES = (
    (b"%PDF", "PDF"),
    (b"PK\3\4", "zip archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"\x1a\x45\xdf\xa3", "Matroska video"),
    (b"ID3", "audio"),
    (b"OggS", "Ogg audio or video"),
)
_BMP_HEADER_BYTES = (12, 40, 52, 56, 64, 108, 124)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# Bytes that no text contains: control characters other than tab, line feed, form feed, carriage
# return and escape.
_NOT_TEXT = frozenset(range(32)) - {9, 10, 12, 13, 27}


def declared_format(filename: str | None) -> str | None:
    """Returns the format that a file name's extension stands for.

    Args:
        filename: Name or path of the file, for example `3f2a.JPG`; None if unknown.

    Returns:
        The format, named as by `sniff`, for example `jpeg`; None without a known extension.
    """
    if not filename or "." not in filename:
        return None
    return _EXTENSIONS.get(filename.rsplit(".", 1)[1].lower())


def sniff(data: bytes) -> str:
    """Returns a file's format by its signature.

    Args:
        data: The file, of which the first 512 bytes suffice.

    Returns:
        One of jpeg, png, webp, avif, gif, bmp, tiff, heif, jp2.

    Raises:
        PixelError: EMPTY, NOT_AN_IMAGE, UNKNOWN_FORMAT or UNSUPPORTED_FORMAT.
    """
    if not data:
        raise PixelError(Reason.EMPTY, "0 bytes")
    head = data[:512]
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head.startswith(b"RIFF"):
        if head[8:12] == b"WEBP":
            return "webp"
        raise PixelError(Reason.NOT_AN_IMAGE, "a RIFF file (audio or video)")
    if head[4:8] == b"ftyp":
        return _sniff_ftyp(head)
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADER_BYTES:
        return "bmp"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        raise PixelError(Reason.UNSUPPORTED_FORMAT, "PPM")
    for signature, name in _UNSUPPORTED:
        if head.startswith(signature):
            raise PixelError(Reason.UNSUPPORTED_FORMAT, name)
    for signature, name in _OTHER_FILES:
        if head.startswith(signature):
            raise PixelError(Reason.NOT_AN_IMAGE, name)
    if b"<svg" in head:
        raise PixelError(Reason.UNSUPPORTED_FORMAT, "SVG")
    if not _NOT_TEXT.intersection(head):
        raise PixelError(Reason.NOT_AN_IMAGE, f"text, starting {head[:40]!r}")
    raise PixelError(Reason.UNKNOWN_FORMAT, f"starting {head[:16].hex(' ')}")


def is_picture(head: bytes) -> bool:
    """Returns whether a file has a supported picture format, given its first 512 bytes."""
    try:
        sniff(head)
    except PixelError:
        return False
    return True


def _sniff_ftyp(head: bytes) -> str:
    """Distinguishes ISO base media files: AVIF, HEIC and HEIF, and videos, which raise."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, size, 4))]
    if b"avif" in brands or b"avis" in brands:
        return "avif"
    if any(brand in _HEIF_BRANDS for brand in brands):
        return "heif"
    raise PixelError(Reason.NOT_AN_IMAGE, f"a media file of brand {brands[0]!r}")
