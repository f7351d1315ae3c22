"""The format of a file by its first bytes. Extensions and media types are never believed."""

from nucleus_data.pixels.errors import PixelError, Reason

_EXTENSIONS = {
    "jpg": "jpeg",
    "jpeg": "jpeg",
    "jpe": "jpeg",
    "jfif": "jpeg",
    "png": "png",
    "apng": "png",
    "webp": "webp",
    "avif": "avif",
    "gif": "gif",
    "bmp": "bmp",
    "dib": "bmp",
    "tif": "tiff",
    "tiff": "tiff",
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
)
_UNSUPPORTED = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
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
_BOXES = (b"ftyp", b"meta", b"mdat", b"moov", b"free", b"skip", b"uuid")
# Bytes that no text holds: the control characters but tab, line feed, form feed, return, escape.
_NOT_TEXT = frozenset(range(32)) - {9, 10, 12, 13, 27}


def declared_format(filename: str | None) -> str | None:
    """The format that a file name's extension promises.

    Args:
        filename: For example `3f2a.JPG`; a path is fine.

    Returns:
        A name that `sniff` also uses, for example `jpeg`; None without a known extension.
    """
    if not filename or "." not in filename:
        return None
    return _EXTENSIONS.get(filename.rsplit(".", 1)[1].lower())


def sniff(data: bytes) -> str:
    """The format by the signature.

    Args:
        data: The file; its first 512 bytes are looked at.

    Returns:
        One of jpeg, png, webp, avif, gif, bmp, tiff.

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
    """Whether a file begins as one of a format that is read, given its first 512 bytes."""
    try:
        sniff(head)
    except PixelError:
        return False
    return True


def promised_bytes(data: bytes, file_format: str) -> int:
    """How long a file is by its own account, where its container says so.

    Args:
        data: The file, perhaps cut.
        file_format: As `sniff` names it.

    Returns:
        For WebP the RIFF size; for AVIF the end of the last box begun; 0 for others.
    """
    if file_format == "webp":
        return int.from_bytes(data[4:8], "little") + 8
    if file_format != "avif":
        return 0
    end = 0
    while end + 16 <= len(data) and data[end + 4 : end + 8] in _BOXES:  # not garbage at the end
        size = int.from_bytes(data[end : end + 4], "big")
        if size == 1:  # a 64-bit size follows the type
            size = int.from_bytes(data[end + 8 : end + 16], "big")
        if size < 8:  # 0: up to the end of the file; others are damage, for the decoder to report
            return 0
        end += size
    return end


def _sniff_ftyp(head: bytes) -> str:
    """ISO base media files: AVIF, its cousin HEIC, or a video."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, size, 4))]
    if b"avif" in brands or b"avis" in brands:
        return "avif"
    if any(brand in _HEIF_BRANDS for brand in brands):
        raise PixelError(Reason.UNSUPPORTED_FORMAT, "HEIF")
    raise PixelError(Reason.NOT_AN_IMAGE, f"a media file of brand {brands[0]!r}")
