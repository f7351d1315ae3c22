"""Which files are images: by their names where these say so, else by their first bytes.

A name is a hint. One that ends as images' names do is an image's, and whether its bytes are right
is for `inspect` to say. One that ends as nothing known (`x.jpg?w=200`, `x.jpg_large`, `x`) is for
its bytes to tell. Endings that are known to be others' are not looked into: millions of `.npy` may
lie beside pictures in an object store, and a camera's raw file begins as a TIFF does.
"""

import re

# Everything that a picture collection may call an image and that decoders know. Vector formats,
# documents and layered project files are not among them; they are counted and named.
# fmt: off
IMAGE_EXTENSIONS = frozenset((
    "apng", "avif", "bmp", "dib", "gif", "heic", "heif", "hif", "ico", "j2c", "j2k", "jfif", "jp2",
    "jpc", "jpe", "jpeg", "jpf", "jpg", "jpx", "jxl", "mpo", "pbm", "pgm", "pjp", "pjpeg", "png",
    "pnm", "ppm", "qoi", "tga", "tif", "tiff", "webp",
))
# What holds no picture, or (raw files of cameras, layers, slides of microscopes) none to train on.
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
HEAD = 512  # bytes of a file that tell what it is
# What holds a picture's caption, in any case of letters: `x.txt` or `x.jpg.txt` beside `x.jpg`; and
# what holds its columns, a caption among them. The same for folders and tars.
CAPTION_ENDINGS = (".txt", ".caption")
JSON_ENDING = ".json"
_SANE = re.compile(r"[a-z0-9]{1,8}")
_HINT = re.compile(r"[a-z0-9]{1,8}(?=[^a-z0-9])")
# A naked JPEG XL begins with two bytes that many a file begins with: not without a name.
_TOO_SHORT = b"\xff\x0a"
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
    (b"\xff\x4f\xff\x51", "j2k"),
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


def is_unclear(name: str) -> bool:
    """Whether a name says neither that a file is an image nor that it is none."""
    suffix = extension(name)
    return suffix not in IMAGE_EXTENSIONS and suffix not in OTHER_EXTENSIONS


def shows_image(head: bytes) -> bool:
    """Whether a file begins as an image does, given its first `HEAD` bytes."""
    from nucleus_data.pixels import is_picture  # it imports Pillow, which few sources need here

    return is_picture(head) or (not head.startswith((b"BM", _TOO_SHORT)) and bool(sniffed(head)))


def hint(name: str) -> str | None:
    """What a name calls an image: its extension, or what an ending like `jpg_large` begins with."""
    suffix = name.rpartition("/")[2].rpartition(".")[2].lower()
    found = _HINT.match(suffix)
    return found[0] if found and found[0] in IMAGE_EXTENSIONS else extension(name)


def stem(path: bytes) -> bytes:
    """A path up to the last dot of its name; all of it if the name has none."""
    dot = path.rfind(b".", path.rfind(b"/") + 1)
    return path if dot < 0 else path[:dot]


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
