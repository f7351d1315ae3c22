"""Names of image formats: which extensions count as images, and the true one by magic bytes."""

import re

# Everything that a picture collection may call an image and that decoders know. Vector formats,
# documents and layered project files are not among them; they are counted and named.
# fmt: off
IMAGE_EXTENSIONS = frozenset((
    "apng", "avif", "bmp", "dib", "gif", "heic", "heif", "ico", "j2k", "jfif", "jp2", "jpe", "jpeg",
    "jpg", "jxl", "pbm", "pgm", "png", "pnm", "ppm", "qoi", "tga", "tif", "tiff", "webp",
))
# fmt: on
# What holds a picture's caption, in any case of letters: `x.txt` or `x.jpg.txt` beside `x.jpg`; and
# what holds its columns, a caption among them. The same for folders and tars.
CAPTION_ENDINGS = (".txt", ".caption")
JSON_ENDING = ".json"
_SANE = re.compile(r"[a-z0-9]{1,8}")
_BRANDS = {b"avif": "avif", b"avis": "avif", b"heic": "heic", b"heix": "heic", b"mif1": "heif"}
_MAGIC = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"\xff\x0a", "jxl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (b"qoif", "qoi"),
    (b"BM", "bmp"),
)


def extension(name: str) -> str | None:
    """The extension of a file name, lower case, without its dot; None if there is no sane one."""
    base = name.rsplit("/", 1)[-1]
    stem, dot, suffix = base.rpartition(".")
    suffix = suffix.lower()
    return suffix if dot and stem and _SANE.fullmatch(suffix) else None


def is_image(name: str) -> bool:
    """Whether a file of that name counts as an image."""
    return extension(name) in IMAGE_EXTENSIONS


def side_file(name: str) -> tuple[str, str] | None:
    """What a caption or JSON file is for, and its ending: `22.05.TXT` is `("22.05", ".txt")`.

    Returns:
        The name without its ending, which is a picture's name or its stem; and the ending, lower
        case. None for other files.
    """
    for ending in (*CAPTION_ENDINGS, JSON_ENDING):
        if name[-len(ending) :].lower() == ending:
            return name[: -len(ending)], ending
    return None


def sniffed(data: bytes) -> str | None:
    """The extension of the format that the first bytes show, or None."""
    for magic, suffix in _MAGIC:
        if data.startswith(magic):
            return suffix
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12])
    return None


def member_extension(data: bytes, declared: str | None) -> str:
    """An image's extension in a corpus's tar: the true one, else upstream's, else `bin`."""
    return sniffed(data) or (declared if declared and _SANE.fullmatch(declared) else "bin")


def counted(skipped: dict[str, int]) -> str:
    """Extensions with their counts, most frequent first, for people: `.svg 3, (none) 1`."""
    most = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{suffix} {count}" for suffix, count in most[:12])
    return shown + (f", and {len(most) - 12} more kinds" if len(most) > 12 else "")
