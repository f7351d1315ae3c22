"""Files made to cost more than they should, and files whose damage other decoders pass over."""

import io
import json
import os
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from nucleus_data.pixels import Limits, PixelError, Reason, open_picture
from nucleus_data.pixels.containers import MAX_BMP_RUN_BYTES, MAX_TIFF_PAGES
from nucleus_data.world.damage import flipped, zeroed
from nucleus_data.world.damage import png_chunk as chunk
from scripts import bench_corruption
from scripts.bench_corruption import JPEGS
from scripts.fuzz_files import valid_files

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encode(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def scene(width=320, height=200, seed=0):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def reason_of(data, limits=None):
    with pytest.raises(PixelError) as caught:
        _ = open_picture(data, limits or Limits()).luma_full
    return caught.value.reason


def within(seconds, work):
    start = time.process_time()
    result = work()
    assert time.process_time() - start < seconds
    return result


JPEG = encode(scene(), "JPEG")
RED = Image.new("RGB", (64, 64), "red")


@pytest.mark.slow
def test_clean_jpegs_raise_no_alarm_and_1000_zeroed_bytes_do():
    clean = [encode_jpeg(grained(seed)) for encode_jpeg in JPEGS.values() for seed in range(6)]
    assert {reason(data) for data in clean} == {"ok"}
    noticed = [reason(zeroed(data)) for data in clean]
    assert noticed.count(Reason.DAMAGED_DATA) >= 0.8 * len(clean)  # of photographs 97 %


def test_flipped_bits_of_a_jpeg_are_mostly_noticed():
    """Of real photographs four fifths are; these are near that, and Pillow notices next to none."""
    rng = np.random.default_rng(0)
    clean = [encode(grained(seed), "JPEG", quality=85) for seed in range(10)]
    found = [reason(flipped(data, rng)) for data in clean for _ in range(6)]
    assert found.count(Reason.DAMAGED_DATA) >= 0.6 * len(found)
    assert found.count("ok") <= 0.3 * len(found)


def grained(seed):
    rng = np.random.default_rng(seed)
    grain = rng.normal(0, 9, (300, 400, 3))
    values = np.asarray(scene(400, 300, seed)) + grain
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def reason(data):
    try:
        _ = open_picture(data).luma_full
    except PixelError as error:
        return error.reason
    return "ok"


@pytest.mark.slow
def test_the_benchmark_compares_decoders_and_misses_its_goals_for_one_that_notices_nothing(
    tmp_path, monkeypatch, capfd
):
    scene(400, 300).save(tmp_path / "a.png")
    arguments = ["--photos", str(tmp_path), "--images", "3", "--json", str(tmp_path / "rows.json")]
    monkeypatch.setattr(bench_corruption, "our_reason", lambda data: "ok")
    assert bench_corruption.main(arguments) == 1
    rows = {row["name"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    assert rows["zeros, all JPEG"]["value"] == 0
    assert rows["zeros, all JPEG"]["rounds"] == len(JPEGS)
    assert rows["false alarms"]["rounds"] == len(JPEGS)
    monkeypatch.setattr(bench_corruption, "our_reason", lambda data: "corrupt")
    assert bench_corruption.main(arguments) == 1  # nothing missed, all alarms false
    assert "false alarms" in capfd.readouterr().out


@pytest.mark.parametrize(("padding", "expected"), [(b"\0" * 7, "ok"), (b"\1\2\3" * 3, "damage")])
def test_only_zeros_may_stand_between_a_jpegs_pixels_and_its_end(padding, expected):
    padded = JPEG[:-2] + padding + JPEG[-2:]
    if expected == "ok":
        assert np.array_equal(open_picture(padded).luma_full, open_picture(JPEG).luma_full)
    else:
        assert reason_of(padded) is Reason.DAMAGED_DATA


def test_damage_is_noticed_behind_a_harmless_oddity_of_the_header():
    """Pillow, which reads on after the oddity, would pass over the damage."""
    clean = [encode(grained(seed), "JPEG", quality=75) for seed in range(6)]
    odd = [data.replace(b"JFIF\0\1", b"JFIF\0\x09", 1) for data in clean]
    assert {reason(data) for data in odd} == {"ok"}
    found = [reason(zeroed(data)) for data in odd]
    assert found == [reason(zeroed(data)) for data in clean]
    assert found.count(Reason.DAMAGED_DATA) >= 4


def test_a_png_whose_checksum_is_wrong_is_damaged():
    data = bytearray(encode(scene(), "PNG"))
    at = data.index(b"IDAT")
    (length,) = struct.unpack_from(">I", data, at - 4)
    data[at + 4 + length] ^= 1  # the checksum itself: every pixel is right
    assert Image.open(io.BytesIO(data)).getpixel((0, 0)) is not None  # Pillow says nothing
    assert reason_of(bytes(data)) is Reason.DAMAGED_DATA


def test_header_of_a_jpeg_is_bounded():
    assert reason_of(JPEG[:2] + b"\xff\xfe\0\2" * 10_000 + JPEG[2:]) is Reason.TOO_COSTLY
    for stray in (b"\1", b"\xff", b"\xff\0"):
        filled = JPEG[:2] + b"\xff\xfe\0\2" + stray * (2 << 20) + JPEG[2:]
        assert within(1, lambda data=filled: reason_of(data)) is Reason.TOO_COSTLY
    metadata = (b"\xff\xe1\xff\xffExif\0\0" + bytes(65_527)) * 200
    assert within(1, lambda: reason(JPEG[:2] + metadata + JPEG[2:])) == "ok"


def test_scans_of_a_jpeg_are_bounded():
    data = encode(Image.new("L", (1024, 1024)), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    bomb = data[:-2] + last * 20_000 + data[-2:]
    assert within(1, lambda: reason_of(bomb)) is Reason.TOO_COSTLY
    # Markers of scans that only stand in metadata are none.
    harmless = data[:2] + b"\xff\xfe\x40\x02" + b"\xff\xda" * 0x2000 + data[2:]
    assert reason(harmless) == "ok"


def test_a_gif_of_many_frames_opens_at_once():
    data = encode(RED.quantize(4), "GIF")
    frame = data[data.index(b",", 13 + 12) : -1]
    count = 50_000
    picture = within(1, lambda: open_picture(data[:-1] + frame * (count - 1) + b";"))
    assert picture.header.frames == count
    assert picture.rgb()[5, 5].tolist() == [255, 0, 0]


def test_words_in_a_gif_cost_nothing_and_blocks_are_bounded():
    data = encode(RED.quantize(4), "GIF")
    head = 13 + 12
    comment = b"\x21\xfe" + (b"\xff" + b"a" * 255) * 20_000 + b"\0"
    assert within(1, lambda: reason(data[:head] + comment + data[head:])) == "ok"
    tiny = b"\x21\xfe" + b"\1a" * 1_200_000 + b"\0"
    assert reason_of(data[:head] + tiny + data[head:]) is Reason.TOO_COSTLY


def test_chunks_of_a_png_are_bounded():
    data = encode(RED, "PNG")
    at = data.index(b"IDAT") - 4
    bomb = data[:at] + chunk(b"teSt", b"") * 70_000 + data[at:]
    assert within(1, lambda: reason_of(bomb)) is Reason.TOO_COSTLY


def tiff(entries, extra=b"", following=0):
    fields = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    return head + fields + struct.pack("<I", following) + extra


PAGE = [(256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
PAGE += [(277, 3, 1, 1), (278, 4, 1, 64), (273, 4, 1, 300), (279, 4, 1, 4096)]


def test_pages_of_a_tiff_are_counted_up_to_a_bound():
    pages = b"".join(struct.pack("<HI", 0, 5000 + 6 * (i + 1)) for i in range(20_000))
    first = tiff(PAGE, following=5000)
    data = first + bytes(5000 - len(first)) + pages
    assert within(1, lambda: open_picture(data).header.frames) == MAX_TIFF_PAGES
    loop = tiff(PAGE, bytes(5000), following=8)
    assert open_picture(loop).header.frames == 1


def test_tags_of_a_tiff_are_bounded():
    repeated = [(50_000 + i, 7, 1 << 20, 500) for i in range(1000)]
    assert reason_of(tiff(PAGE + repeated, bytes(3 << 20))) is Reason.TOO_COSTLY
    strips = [entry for entry in PAGE if entry[0] not in (273, 279)]
    strips += [(273, 4, 1 << 19, 500), (279, 4, 1 << 19, 500)]
    assert reason_of(tiff(strips, bytes(4 << 20))) is Reason.TOO_COSTLY
    far = bytearray(tiff(PAGE, bytes(5000)))
    struct.pack_into("<HI", far, 2, 42, 0xFFFFFFF0)  # its page is nowhere
    assert reason_of(bytes(far)) in (Reason.CORRUPT, Reason.TRUNCATED)
    # BigTIFF places pages by 64 bits: fuzzing found that such a place overflowed.
    nowhere = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 2**63 + 5) + bytes(99)
    assert reason_of(nowhere) in (Reason.CORRUPT, Reason.TRUNCATED)


def test_a_tile_of_a_tiff_is_bounded():
    """libtiff takes memory for one whole tile: 900 MB for this picture of 64 x 64."""
    fields = [entry for entry in PAGE if entry[0] not in (259, 273, 278, 279)]
    fields += [(259, 3, 1, 5), (322, 4, 1, 30_000), (323, 4, 1, 30_000)]
    fields += [(324, 4, 1, 300), (325, 4, 1, 4096)]
    assert reason_of(tiff(fields, bytes(5000))) is Reason.TOO_COSTLY


@pytest.mark.slow
def test_run_length_bmp_is_bounded():
    run_length = dict(valid_files())["bmp.5"]
    assert reason(run_length) == "ok"
    assert reason_of(run_length + bytes(MAX_BMP_RUN_BYTES)) is Reason.TOO_COSTLY


def test_formats_that_take_twice_the_memory_may_have_half_the_pixels():
    limits = Limits(max_pixels=64 * 64)
    for file_format in ("WEBP", "AVIF"):
        assert reason_of(encode(RED, file_format), limits) is Reason.TOO_MANY_PIXELS
    assert reason_of(encode(RED.convert("CMYK"), "JPEG"), limits) is Reason.TOO_MANY_PIXELS
    half = RED.resize((64, 32))
    assert open_picture(encode(half, "WEBP"), limits).header.height == 32
    assert open_picture(encode(RED, "JPEG"), limits).header.height == 64


def test_every_valid_file_is_read():
    for name, data in valid_files():
        assert reason(data) == "ok", name


def fuzzed(files):
    from scripts.fuzz_pixels import outcomes

    return [outcome for outcome, _ in outcomes(files)]


class _Kill:
    """Ends the process that unpickles it."""

    def __reduce__(self):
        return os._exit, (3,)


@pytest.mark.slow
def test_the_fuzzer_finds_what_dies_and_what_raises():
    files = [("dies.x", _Kill()), ("raises.x", None), ("fine.x", JPEG), ("html.x", b"<html>")]
    found = {outcome.name: outcome for outcome in fuzzed(iter(files))}
    assert (found["dies.x"].result, found["raises.x"].result) == ("CRASH", "EXCEPTION")
    assert found["dies.x"].found
    assert "TypeError" in found["raises.x"].detail
    assert (found["fine.x"].result, found["html.x"].result) == ("ok", "not_an_image")
    assert not found["html.x"].found


@pytest.mark.slow
def test_3000_mutated_files_crash_hang_and_bloat_nothing():
    from scripts.fuzz_pixels import mutations

    found = fuzzed(mutations(3000, seed=1))
    assert len(found) == 3000
    assert [outcome for outcome in found if outcome.found] == []
    assert {"ok", "truncated", "corrupt", "damaged_data"} <= {o.result for o in found}


def _deep_interlaced(side):
    header = struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 1)
    packed = zlib.compressobj(9)
    zeros = bytes(side * 8 * 64)
    body = b"".join(packed.compress(zeros) for _ in range(side // 32)) + packed.flush()
    return PNG_SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pictures_at_the_limit_stay_below_1_gb_and_take_seven_times_a_plain_jpeg_at_most():
    """The fuzzer calls five seconds a hang, but a shared machine is a third slower at times."""
    side = int(Limits().max_pixels ** 0.5)
    tile = np.asarray(grained(0).resize((512, 512)))
    rgb = Image.fromarray(np.tile(tile, (side // 512 + 1, side // 512 + 1, 1))[:side, :side])
    half = rgb.crop((0, 0, side, side // 2))
    clear = half.convert("RGBA")
    clear.putalpha(half.getchannel("R"))
    files = [
        ("baseline.x", encode(rgb, "JPEG", quality=90)),
        ("progressive.x", encode(rgb, "JPEG", quality=90, progressive=True, subsampling=0)),
        ("cmyk.x", encode(half.convert("CMYK"), "JPEG", progressive=True, subsampling=0)),
        ("lzw.x", encode(rgb, "TIFF", compression="tiff_lzw")),
        ("interlaced.x", _deep_interlaced(side)),
        ("lossy.x", encode(clear, "WEBP", method=0)),
        ("lossless.x", encode(clear, "WEBP", lossless=True, method=0, quality=0)),
        ("avif.x", encode(clear, "AVIF", speed=10)),
        ("jp2.x", encode(clear, "JPEG2000", quality_mode="rates", quality_layers=[12])),
        ("gif.x", encode(rgb.quantize(16), "GIF")),
    ]
    found = fuzzed(iter(files))
    print([(o.name, o.result, round(o.seconds, 1), round(o.mb)) for o in found])
    assert {o.name for o in found} == {name for name, _ in files}
    assert {o.name: o.result for o in found if o.result not in ("ok", "HANG")} == {}
    plain = next(o.seconds for o in found if o.name == "baseline.x")
    assert {o.name: o.seconds for o in found if o.seconds > 7 * plain} == {}
