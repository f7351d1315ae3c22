"""Small valid pictures of every format and kind: what `fuzz_pixels.py` damages."""

import io
import struct
import zlib
from contextlib import suppress
from functools import cache

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageCms

from nucleus_data.world.damage import png_chunk

JPEG, PNG, WEBP, GIF, TIFF, BMP, AVIF = "JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"
JP2, HEIF = "JPEG2000", "HEIF"


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _scene(width: int, height: int, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(width)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 4), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def _opencv(suffix: str, values: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, values, list(options))[1].tobytes()


@cache
def valid_files() -> list[tuple[str, bytes]]:
    """Names (`FORMAT.KIND`) and contents: modes, codings, profiles, EXIF, animation, tiles."""
    rgb, rgba, grey = _scene(72, 50), _scene(61, 44, "RGBA"), _scene(40, 64, "L")
    large, palette = _scene(320, 200), rgb.quantize(64)
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a turned picture"
    more = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    deep = np.asarray(rgba).astype(np.uint16) * 257
    pixels = np.ascontiguousarray(large)
    files: dict[str, list[bytes]] = {
        "jpeg": [
            _saved(rgb, JPEG),
            _saved(large, JPEG, quality=92, progressive=True),
            _saved(large, JPEG, quality=60, optimize=True, icc_profile=icc, exif=exif.tobytes()),
            _saved(rgb, JPEG, subsampling=0, restart_marker_blocks=3, comment=b"words"),
            _saved(grey, JPEG),
            _saved(rgb.convert("CMYK"), JPEG, progressive=True),
            _saved(rgb, JPEG, keep_rgb=True),
            _opencv(".jpg", pixels, cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
            simplejpeg.encode_jpeg(pixels, quality=85, colorsubsampling="422"),
        ],
        "png": [
            _saved(rgb, PNG, icc_profile=icc, exif=exif.tobytes()),
            _saved(rgba, PNG),
            _saved(_scene(30, 30, "LA"), PNG),
            _saved(palette, PNG, transparency=3),
            _saved(rgb.convert("1"), PNG),
            _saved(Image.fromarray(deep[..., 0].copy()), PNG),
            _opencv(".png", deep),
            _saved(rgb, PNG, **more),
            _interlaced(),
        ],
        "webp": [
            _saved(rgb, WEBP, quality=70),
            _saved(rgba, WEBP, quality=70, icc_profile=icc, exif=exif.tobytes()),
            _saved(rgba, WEBP, lossless=True),
            _saved(rgb, WEBP, **more),
        ],
        "gif": [
            _saved(palette, GIF),
            _saved(palette, GIF, transparency=2, comment=b"words"),
            _saved(rgb, GIF, **more),
        ],
        "tiff": [
            *(
                _saved(rgb, TIFF, compression=coding)
                for coding in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd")
            ),
            _saved(rgb.convert("1"), TIFF, compression="group4"),
            _saved(rgba, TIFF, compression="tiff_lzw", tiffinfo={322: 16, 323: 16}),
            _saved(rgb.convert("CMYK"), TIFF, icc_profile=icc, exif=exif.tobytes()),
            _saved(rgb, TIFF, big_tiff=True),
            _opencv(".tiff", deep),
            _saved(palette, TIFF),
            _saved(rgb, TIFF, **more),
        ],
        "bmp": [_saved(image, BMP) for image in (rgb, rgba, grey, palette, rgb.convert("1"))]
        + [_run_length_bmp()],
        "avif": [
            _saved(rgb, AVIF, speed=10),
            _saved(rgba, AVIF, speed=10, icc_profile=icc, exif=exif.tobytes()),
            _saved(rgb, AVIF, speed=10, **more),
        ],
        "jp2": [
            _saved(rgb, JP2),
            _saved(large, JP2, no_jp2=True, tile_size=(128, 128)),
            _saved(rgba, JP2, irreversible=True, quality_mode="rates", quality_layers=[20, 5]),
            _saved(Image.fromarray(deep[..., 0].copy()), JP2),
        ],
    }
    with suppress(ImportError):
        from pillow_heif import register_heif_opener  # an extra

        register_heif_opener()
        files["heif"] = [
            _saved(rgb, HEIF),
            _saved(rgba, HEIF, icc_profile=icc, exif=exif.tobytes()),
            _saved(rgb, HEIF, **more),
        ]
    return [
        (f"{form}.{kind}", data) for form, kinds in files.items() for kind, data in enumerate(kinds)
    ]


def _interlaced() -> bytes:
    """8x8 grey, Adam7: its seven passes are of 1, 1, 2, 4, 8, 16 and 32 pixels."""
    passes = ((1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4))
    rows = b"".join((b"\0" + bytes(range(50, 50 + w))) * h for w, h in passes)
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def _run_length_bmp() -> bytes:
    """16x8, 8 bits a pixel, each row one run."""
    runs = b"".join(bytes((16, row, 0, 0)) for row in range(8)) + b"\0\1"
    colours = bytes(range(256)) * 4
    offset = 54 + len(colours)
    head = struct.pack("<2sIHHI", b"BM", offset + len(runs), 0, 0, offset)
    info = struct.pack("<IiiHHIIiiII", 40, 16, 8, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return head + info + colours + runs
