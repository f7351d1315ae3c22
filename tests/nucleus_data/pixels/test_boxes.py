"""HEIF, JPEG 2000 and MPO: the first frame, upright, by its colour profile."""

import io
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from nucleus_data.pixels import Limits, PixelError, Reason, declared_format, open_picture
from nucleus_data.pixels.boxes import boxes, read_jp2
from nucleus_data.stage import Row, RowFailure
from nucleus_data.stages.inspect.stage import Inspect, InspectSettings
from tests.nucleus_data.pixels.test_colour import swapped_profile
from tests.support.encoded import ORIENTATION, STORED, encode, reason_of, scene, solid
from tests.support.quick import quick


def heif(image, **options):
    """A picture as a HEIC, of lossless quality."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    return encode(image, "HEIF", quality=-1, chroma=444, **options)


def box(kind, body):
    """A box of a file."""
    return struct.pack(">I4s", 8 + len(body), kind) + body


def jp2(image, profile=b"", orientation=1):
    """A JPEG 2000 with what Pillow does not write: a colour profile, an orientation."""
    data = encode(image, "JPEG2000")
    parts = {found.kind: data[found.body : found.end] for found in boxes(data)}
    if profile:
        header = [(b.kind, parts[b"jp2h"][b.body : b.end]) for b in boxes(parts[b"jp2h"])]
        header = [(kind, body) for kind, body in header if kind != b"colr"]
        header.append((b"colr", b"\2\0\0" + profile))
        parts[b"jp2h"] = b"".join(box(kind, body) for kind, body in header)
    if orientation != 1:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        body = b"JpgTiffExif->JP2" + exif.tobytes().removeprefix(b"Exif\0\0")
        parts = {k: v for k, v in parts.items() if k != b"jp2c"} | {
            b"uuid": body,
            b"jp2c": parts[b"jp2c"],
        }
    return b"".join(box(kind, body) for kind, body in parts.items())


@pytest.mark.parametrize("orientation", sorted(STORED))
@pytest.mark.parametrize("make", [heif, jp2])
def test_all_orientations_show_the_same_upright_picture(make, orientation):
    turn = STORED[orientation]
    upright = scene(96, 64)
    stored = upright if turn is None else upright.transpose(turn)
    if make is heif:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        data = heif(stored, exif=exif.tobytes())
    else:
        data = jp2(stored, orientation=orientation)
    picture = open_picture(data)
    assert (picture.header.width, picture.header.height) == (96, 64)
    assert picture.header.orientation == orientation
    assert np.abs(picture.rgb().astype(int) - np.asarray(upright)).mean() < 2
    assert picture.small.shape == (64, 96, 3)


@pytest.mark.parametrize("make", [heif, jp2])
def test_a_colour_profile_is_applied(make):
    image = solid((255, 0, 0), size=(64, 64))
    if make is heif:
        data = heif(image, icc_profile=swapped_profile())
    else:
        data = jp2(image, swapped_profile())
    picture = open_picture(data)
    assert picture.header.has_icc
    assert picture.small[9, 9, 0] < 20
    assert picture.small[9, 9, 1] > 235


def test_the_first_frame_is_the_picture():
    plugin = pytest.importorskip("pillow_heif")
    file = plugin.from_pillow(scene(96, 64))
    file.add_from_pillow(scene(80, 80, 1))
    data = io.BytesIO()
    file.save(data, quality=-1, primary_index=0)
    header = open_picture(data.getvalue()).header
    assert (header.format, header.frames, header.width) == ("heif", 2, 96)
    mpo = encode(scene(96, 64), "MPO", save_all=True, append_images=[scene(80, 80, 1)])
    header = open_picture(mpo).header
    assert (header.format, header.frames, header.width) == ("jpeg", 1, 96)
    assert not header.truncated
    assert declared_format("x.MPO") == "jpeg"


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "I;16"])
def test_modes_of_a_jpeg_2000(mode):
    if mode == "I;16":
        image = Image.fromarray(np.full((40, 50), 257 * 90, np.uint16))
    else:
        image = solid((90, 90, 90), size=(50, 40)).convert(mode)
    for options in ({}, {"no_jp2": True}):
        picture = open_picture(encode(image, "JPEG2000", **options))
        assert picture.header.format == "jp2"
        assert picture.header.mode == mode
        assert picture.luma_full.tolist() == np.full((40, 50), 90).tolist()


def test_a_transparent_heif():
    picture = open_picture(heif(solid((200, 0, 0, 0), "RGBA", (64, 64))))
    assert picture.header.has_alpha
    assert picture.luma_full.min() == 255


def test_names_of_these_formats():
    for name, expected in (
        ("a.HEIC", "heif"),
        ("a.hif", "heif"),
        ("a.j2k", "jp2"),
        ("a.jpx", "jp2"),
    ):
        assert declared_format(name) == expected


def test_without_the_extra_a_heic_is_a_failed_row_that_may_pass_and_names_it(monkeypatch):
    data = heif(scene(96, 64))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    stage = Inspect(InspectSettings())
    (failed,) = stage.process(iter([Row(0, 0, "0" * 32, "x.heic", data, {}, frozenset())]))
    assert isinstance(failed, RowFailure)
    assert (failed.reason, failed.retryable) == ("needs_heif", True)
    assert "nucleus-data[heif]" in failed.detail


def test_limits_hold_before_any_pixel():
    for data in (heif(scene(96, 64)), jp2(scene(96, 64))):
        assert reason_of(data, Limits(max_pixels=96 * 64 * 2 - 1)) is Reason.TOO_MANY_PIXELS
    huge = bytearray(encode(scene(96, 64), "JPEG2000"))
    at = huge.index(b"\xff\x51")
    struct.pack_into(">2I", huge, at + 22, 60_000, 60_000)  # one tile
    struct.pack_into(">2I", huge, at + 6, 60_000, 60_000)  # the codestream alone claims it
    assert reason_of(bytes(huge)) is Reason.TOO_MANY_PIXELS
    struct.pack_into(">2I", huge, at + 6, 95, 64)
    assert reason_of(bytes(huge)) is Reason.CORRUPT


def test_tiles_and_layers_of_a_jpeg_2000_are_bounded():
    many = bytearray(encode(scene(300, 300), "JPEG2000", tile_size=(64, 64)))
    at = many.index(b"\xff\x51")
    struct.pack_into(">2I", many, at + 22, 1, 1)
    assert reason_of(bytes(many)) is Reason.TOO_COSTLY
    struct.pack_into(">2I", many, at + 22, 0, 1)
    assert reason_of(bytes(many)) is Reason.CORRUPT
    layers = bytearray(encode(scene(96, 64), "JPEG2000"))
    struct.pack_into(">H", layers, layers.index(b"\xff\x52") + 6, 60_000)
    assert reason_of(bytes(layers)) is Reason.TOO_COSTLY


@pytest.mark.parametrize("seed", quick(range(30), 10))
def test_damaged_boxes_raise_nothing_but_pixel_error(seed):
    rng = np.random.default_rng(seed)
    for data in (jp2(scene(48, 40), swapped_profile(), 6), heif(scene(64, 64))):
        damaged = bytearray(data)
        for place in rng.integers(0, min(len(data), 600), 6):
            damaged[place] = rng.integers(256)
        try:
            picture = open_picture(bytes(damaged), Limits(max_pixels=1 << 20))
            assert picture.luma_full.shape == (picture.header.height, picture.header.width)
        except PixelError:
            continue


def test_boxes_end_at_what_is_none():
    data = box(b"ftyp", b"heic") + box(b"free", b"") + b"\0\0\0\x09\1\2\3\4garbage"
    assert [found.kind for found in boxes(data)] == [b"ftyp", b"free"]
    assert [b.end for b in boxes(struct.pack(">I4sQ", 1, b"mdat", 99))] == [99]
    assert [b.end for b in boxes(struct.pack(">I4s", 0, b"mdat") + bytes(5))] == [13]
    with pytest.raises(PixelError, match="truncated"):
        read_jp2(data)
