"""Recognises image files: by extension if it is a known one, otherwise by their first bytes.

A file with an image extension counts as an image; whether its content is valid is checked later, by
the stage `inspect`. For unknown extensions (`x.jpg?w=200`, `x.jpg_large`, `x`), the first bytes
decide. Files with an extension of another known format are never opened: an object store may hold
millions of `.npy` files beside the images, and a camera's raw file begins like a TIFF.
"""

import re

# Extensions of all image formats that decoders know and picture collections contain. Vector
# formats, documents and layered project files are excluded; they are counted by extension.
# fmt: off
IMAGE_EXTENSIONS = frozenset((
    "apng", "avif", "bmp", "dib", "gif", "heic", "heif", "hif", "ico", "j2c", "j2k", "jfif", "jp2",
    "jpc", "jpe", "jpeg", "jpf", "jpg", "jpx", "jxl", "mpo", "pbm", "pgm", "pjp", "pjpeg", "png",
    "pnm", "ppm", "qoi", "tga", "tif", "tiff", "webp",
))
# Extensions of files without a picture, or without one to train on: cameras' raw files, layered
# files, microscope slides.
OTHER_EXTENSIONS = frozenset((
    "3fr", "7z", "aac", "aae", "ai", "arw", "avi", "bz2", "c", "caption", "cls", "cr2", "cr3",
    "crw", "csv", "dcm", "dcr", "dng", "doc", "docx", "dxf", "eps", "erf", "exr", "fff", "flac",
    "gz", "h5", "hdr", "htm", "html", "idx", "iiq", "ini", "js", "json", "jsonl", "k25", "kdc",
    "log", "lrv", "lz4", "m4a", "m4v", "md", "mef", "mkv", "mos", "mov", "mp3", "mp4", "mpeg",
    "mpg", "mrw", "ndpi", "nef", "npy", "npz", "nrw", "ogg", "orf", "parquet", "pdf", "pef",
    "pkl", "ps", "psb", "psd", "pt", "pth", "pxn", "py", "r3d", "raf", "rar", "raw", "rw2",
    "rwl", "rwz", "safetensors", "sh", "sqlite", "sr2", "srf", "srt", "srw", "svg", "svgz",
    "svs", "tar", "tbz", "tbz2", "tgz", "thm", "toml", "tsv", "ttf", "txt", "txz", "tzst",
    "vtt", "wav", "webm", "wmv", "x3f", "xcf", "xls", "xlsx", "xml", "xmp", "xz", "yaml", "yml",
    "zip", "zst",
))
# fmt: on
HEAD = 512  # number of bytes from which a file's format is recognised
# Case-insensitive endings of the files with a picture's caption (`x.txt` or `x.jpg.txt` beside
# `x.jpg`), and of those with its columns, which may include a caption. They hold for folders and
# tars.
CAPTION_ENDINGS = (".txt", ".caption")
JSON_ENDING = ".json"
_SANE = re.compile(r"[a-z0-9]{1,8}")
_HINT = re.compile(r"[a-z0-9]{1,8}(?=[^a-z0-9])")
# A JPEG XL codestream without a container starts with only two magic bytes, which many other files
# share. So these bytes count only together with the extension.
_TOO_SHORT = b"\xff\x0a"
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "heic"),
    **dict.fromkeys((b"mif1", b"msf1"), "heif"),
}
_MAGIC = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),  # BigTIFF
    (b"MM\0+", "tiff"),
    (b"\xff\x0a", "jxl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "j2k"),
    (b"qoif", "qoi"),
    (b"BM", "bmp"),
)


def extension(name: str) -> str | None:
    """Returns a file name's extension, in lower case without the dot.

    Returns:
        None if there is no extension of 1 to 8 letters and digits.
    """
    base = name.rsplit("/", 1)[-1]
    stem, dot, suffix = base.rpartition(".")
    suffix = suffix.lower()
    return suffix if dot and stem and _SANE.fullmatch(suffix) else None


def is_image(name: str) -> bool:
    """Returns whether a file name has an image extension."""
    return extension(name) in IMAGE_EXTENSIONS


def is_unclear(name: str) -> bool:
    """Returns whether a file name has no known extension, so that the content has to decide."""
    suffix = extension(name)
    return suffix not in IMAGE_EXTENSIONS and suffix not in OTHER_EXTENSIONS


def shows_image(head: bytes) -> bool:
    """Returns whether a file's first `HEAD` bytes are those of an image."""
    # Imported here since `pixels` imports Pillow, which few sources need at this point.
    from nucleus_data.pixels import is_picture

    return is_picture(head) or (not head.startswith((b"BM", _TOO_SHORT)) and bool(sniffed(head)))


def hint(name: str) -> str | None:
    """Returns the image format that a name suggests.

    Returns:
        The image extension that an ending such as `jpg_large` begins with, or else the name's own
        extension, as in `extension`.
    """
    suffix = name.rpartition("/")[2].rpartition(".")[2].lower()
    match = _HINT.match(suffix)
    return match[0] if match and match[0] in IMAGE_EXTENSIONS else extension(name)


def stem(path: bytes) -> bytes:
    """Returns a path without its last extension; unchanged if its base name has no dot."""
    dot = path.rfind(b".", path.rfind(b"/") + 1)
    return path if dot < 0 else path[:dot]


def side_file(name: str) -> tuple[str, str] | None:
    """Splits the name of a caption or JSON file: `22.05.TXT` into `("22.05", ".txt")`.

    Returns:
        The name without its ending, which is the name or the stem of a picture, and the ending in
        lower case. None for other files.
    """
    for ending in (*CAPTION_ENDINGS, JSON_ENDING):
        if name[-len(ending) :].lower() == ending:
            return name[: -len(ending)], ending
    return None


def sniffed(data: bytes) -> str | None:
    """Returns the extension of the format that a file's first bytes identify, or None."""
    for magic, suffix in _MAGIC:
        if data.startswith(magic):
            return suffix
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12])
    return None


def member_extension(data: bytes, declared: str | None) -> str:
    """Returns an image's extension in an image shard.

    Args:
        data: The image file's bytes.
        declared: The extension that upstream gives it, if any.

    Returns:
        The extension of the detected format; if none is detected, `declared` if it is valid,
        otherwise `bin`.
    """
    return sniffed(data) or (declared if declared and _SANE.fullmatch(declared) else "bin")


def counted(skipped: dict[str, int]) -> str:
    """Formats counts by extension for a message, most frequent first: `.svg 3, (none) 1`."""
    ranked = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{suffix} {count}" for suffix, count in ranked[:12])
    return shown + (f", and {len(ranked) - 12} more kinds" if len(ranked) > 12 else "")
