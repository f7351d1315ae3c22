import io
import math

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageFilter

from nucleus_data.pixels import open_picture
from nucleus_data.signals import SignalGroup, detail, file, hash, is_built_in, load_group, tone
from nucleus_data.signals.bands import bands

GROUPS = (file.group, tone.group, detail.group, hash.group)


def encode(image, file_format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def picture_of(image, file_format="PNG", **options):
    return open_picture(encode(image, file_format, **options))


def solid(colour, size=(80, 60)):
    return Image.new("RGB", size, colour)


def scene(width=640, height=480, seed=0):
    """Blobs of many sizes, as in a photo, with some grain."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 128.0)
    for cells, strength in ((4, 60), (9, 40), (25, 20)):
        coarse = rng.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        for c in range(3):
            layer = Image.fromarray(coarse[..., c])
            pixels[..., c] += np.asarray(layer.resize((width, height), Image.Resampling.BICUBIC))
    pixels += rng.normal(0, 4, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def hamming(one, other):
    if isinstance(one, bytes):
        return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()
    return (one ^ other).bit_count()


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_values_are_the_schemas_columns_and_fit_it(group):
    values = group.measure(picture_of(scene(100, 70), "JPEG"), "a.jpg")
    assert list(values) == group.schema.names
    assert pa.Table.from_pylist([values], schema=group.schema).num_rows == 1


def test_file():
    data = encode(scene(100, 70), "PNG")
    values = file.group.measure(open_picture(data), "some.jpg")
    assert values == {
        "format": "png",
        "declared": "jpeg",
        "mislabelled": True,
        "width": 100,
        "height": 70,
        "mode": "RGB",
        "frames": 1,
        "orientation": 1,
        "has_icc": False,
        "has_alpha": False,
        "bytes": len(data),
        "bytes_per_pixel": len(data) / 7000,
        "aspect": 100 / 70,
    }
    honest = file.group.measure(open_picture(data), "some.png")
    assert (honest["declared"], honest["mislabelled"]) == ("png", False)
    unnamed = file.group.measure(open_picture(data), None)
    assert (unnamed["declared"], unnamed["mislabelled"]) == (None, False)


@pytest.mark.parametrize(
    ("colour", "mean", "dark", "bright", "clipped", "saturation"),
    [
        ((0, 0, 0), 0, 1, 0, 0, 0),
        ((15, 15, 15), 15, 1, 0, 0, 0),
        ((16, 16, 16), 16, 0, 0, 0, 0),
        ((239, 239, 239), 239, 0, 0, 0, 0),
        ((255, 255, 255), 255, 0, 1, 1, 0),
        ((255, 0, 0), 76, 0, 0, 1, 1),
        ((0, 51, 102), 42, 0, 0, 0, 0.4),
        ((0, 250, 250), 175, 0, 0, 1, 250 / 255),
        ((249, 249, 249), 249, 0, 1, 0, 0),
    ],
)
def test_tone_of_solid_colours(colour, mean, dark, bright, clipped, saturation):
    assert tone.group.measure(picture_of(solid(colour)), None) == {
        "luma_mean": mean,
        "luma_std": 0.0,
        "dark_share": dark,
        "bright_share": bright,
        "clipped_share": clipped,
        "entropy": 0.0,
        "saturation": pytest.approx(saturation),
    }


def test_tone_of_halves_and_of_a_ramp():
    halves = Image.new("L", (64, 64), 0)
    halves.paste(200, (32, 0, 64, 64))
    values = tone.group.measure(picture_of(halves), None)
    assert values["luma_mean"] == 100
    assert values["luma_std"] == 100
    assert values["entropy"] == pytest.approx(1)
    assert values["dark_share"] == 0.5
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).repeat(4).reshape(32, 32))
    values = tone.group.measure(picture_of(ramp), None)
    assert values["entropy"] == pytest.approx(8)
    assert values["luma_std"] == pytest.approx(math.sqrt((256**2 - 1) / 12))


def test_laplacian_against_a_plain_loop():
    luma = np.random.default_rng(1).integers(0, 256, (23, 31), dtype=np.uint8)
    wide = luma.astype(int)
    values = [
        wide[y - 1, x] + wide[y + 1, x] + wide[y, x - 1] + wide[y, x + 1] - 4 * wide[y, x]
        for y in range(1, 22)
        for x in range(1, 30)
    ]
    assert detail.laplacian_variance(luma) == pytest.approx(np.var(values), rel=1e-12)


def high_frequency_share(luma):
    return detail.high_frequency_share(bands(luma))


def test_high_frequency_share_of_known_spectra():
    rng = np.random.default_rng(2)
    noise = rng.integers(0, 256, (512, 512), dtype=np.uint8)
    assert high_frequency_share(noise) == pytest.approx(1 - math.pi / 16, abs=0.01)
    x = np.arange(300)
    for period, high in ((3, True), (8, False)):
        wave = 128 + 100 * np.cos(2 * np.pi * x / period)
        rows = np.broadcast_to(wave.astype(np.uint8), (200, 300))
        share = high_frequency_share(rows)
        assert share > 0.99 if high else share < 0.01
    assert high_frequency_share(np.full((90, 70), 93, np.uint8)) == 0.0


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (64, 1), (65, 63), (200, 3)])
def test_detail_of_tiny_pictures_is_a_number(shape):
    luma = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    assert math.isfinite(detail.laplacian_variance(luma))
    assert 0.0 <= high_frequency_share(luma) <= 1.0


def test_blur_lowers_both():
    sharp = scene(400, 300)
    blurred = sharp.filter(ImageFilter.GaussianBlur(3))
    sharp_values, blurred_values = (
        detail.group.measure(picture_of(image), None) for image in (sharp, blurred)
    )
    for name, value in sharp_values.items():
        assert blurred_values[name] < value / 10


def plain_dct_hash(luma, side, kept):
    """The definition, in floats and without tricks."""
    height, width = luma.shape
    rows = luma.repeat(side, axis=0).reshape(side, height, width).mean(axis=1)
    pixels = rows.repeat(side, axis=1).reshape(side, side, width).mean(axis=2)
    n = np.arange(side)
    matrix = np.array(
        [
            np.cos(np.pi * k * (2 * n + 1) / (2 * side)) * math.sqrt((1 if k == 0 else 2) / side)
            for k in range(kept)
        ]
    )
    block = (matrix @ pixels @ matrix.T).reshape(-1)
    bits = block > np.median(block[1:])
    return np.packbits(bits).tobytes()


@pytest.mark.parametrize("size", [(256, 256), (256, 171), (640, 480), (97, 203)])
def test_hashes_follow_their_definition(size):
    picture = picture_of(scene(*size))
    values = hash.group.measure(picture, None)
    plain = plain_dct_hash(picture.luma_small, 32, 8)
    # Rounding may flip the coefficient that is the median itself, hardly another.
    assert hamming(values["phash"].to_bytes(8, "big"), plain) <= 1
    assert hamming(values["hash256"], plain_dct_hash(picture.luma_small, 64, 16)) <= 2


def test_hash_bits_of_a_known_picture():
    """One cosine of frequency 3 along x: of all coefficients but DC only number 3 is above 0."""
    x = np.arange(256)
    wave = (128 + 100 * np.cos(np.pi * 3 * (2 * x + 1) / 512)).astype(np.uint8)
    picture = picture_of(Image.fromarray(np.broadcast_to(wave, (256, 256)).copy()))
    phash = hash.group.measure(picture, None)["phash"]
    assert phash >> 63 & 1  # DC
    assert phash >> (63 - 3) & 1  # row 0, column 3
    assert phash & ((1 << 56) - 1) == 0  # no other row


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (12, 99, 180)])
def test_solid_pictures_hash_alike(colour):
    values = hash.group.measure(picture_of(solid(colour)), None)
    dc = int(colour != (0, 0, 0))
    assert values["phash"] == dc << 63
    assert values["hash256"] == bytes([dc << 7]) + bytes(31)


@pytest.mark.parametrize("seed", range(4))
def test_copies_are_near_and_others_far(seed):
    original = scene(640, 480, seed)
    first = hash.group.measure(picture_of(original, "JPEG", quality=92), None)
    copies = {
        "recoded": picture_of(original, "JPEG", quality=40),
        "png": picture_of(original),
        "webp": picture_of(original, "WEBP", quality=60),
        "half": picture_of(original.resize((320, 240), Image.Resampling.LANCZOS), "JPEG"),
        "odd": picture_of(original.resize((407, 305), Image.Resampling.BICUBIC), "JPEG"),
        "double": picture_of(original.resize((1280, 960), Image.Resampling.BICUBIC), "JPEG"),
    }
    for name, copy in copies.items():
        values = hash.group.measure(copy, None)
        assert hamming(values["phash"], first["phash"]) <= 4, name
        assert hamming(values["hash256"], first["hash256"]) <= 40, name
    other = hash.group.measure(picture_of(scene(640, 480, seed + 100)), None)
    assert hamming(other["phash"], first["phash"]) > 8
    assert hamming(other["hash256"], first["hash256"]) > 60


def test_orientation_twins_have_equal_values():
    upright = scene(300, 200)
    exif = Image.Exif()
    operations = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    plain = [g.measure(picture_of(upright), None) for g in (tone.group, hash.group)]
    for orientation, operation in operations.items():
        exif[0x0112] = orientation
        twin = picture_of(upright.transpose(operation), exif=exif.tobytes())
        assert twin.header.orientation == orientation
        assert [g.measure(twin, None) for g in (tone.group, hash.group)] == plain
        lossy = picture_of(upright.transpose(operation), "JPEG", quality=92, exif=exif.tobytes())
        distance = hamming(hash.group.measure(lossy, None)["phash"], plain[1]["phash"])
        assert distance <= 4


def test_load_group_finds_built_in_and_own(tmp_path, monkeypatch):
    for group in GROUPS:
        assert load_group(group.name) is group
        assert load_group(f"nucleus_data.signals.{group.name}:group") is group
    package = tmp_path / "package_of_a_user"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "colours.py").write_text(
        "import pyarrow as pa\n"
        "from nucleus_data.signals import SignalGroup\n"
        "schema = pa.schema([('red', pa.float32())])\n"
        "mine = SignalGroup('red', 3, schema, lambda picture, file: {'red': 1.0})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    group = load_group("package_of_a_user.colours:mine")
    assert (group.name, group.version) == ("red", 3)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("tones", "or file, tone, detail, hash, colour"),
        ("no_such_package.module", "cannot import 'no_such_package.module'"),
        ("nucleus_data.signals.tone:nothing", "must be a SignalGroup, it is missing"),
        ("nucleus_data.signals.tone:measure", "must be a SignalGroup, it is a function"),
        ("../evil", "package.module:attribute"),
        ("a:b:c", "package.module:attribute"),
        ("", "package.module:attribute"),
    ],
)
def test_load_group_says_what_is_wrong(path, message):
    with pytest.raises(ValueError, match=message):
        load_group(path)


def test_is_built_in():
    assert is_built_in("tone")
    assert is_built_in("nucleus_data.signals.tone:group")
    assert not is_built_in("my_package.tone")


def test_a_group_is_checked_when_made():
    schema = pa.schema([("x", pa.float32())])
    with pytest.raises(ValueError, match="lower case"):
        SignalGroup("My Group", 1, schema, lambda _picture, _file: {})
    with pytest.raises(ValueError, match="'error'"):
        SignalGroup("mine", 1, pa.schema([("error", pa.string())]), lambda _picture, _file: {})
