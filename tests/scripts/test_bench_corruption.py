"""How the benchmark of silent corruption counts false alarms."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from nucleus_data.pixels import open_picture
from scripts import bench_corruption
from scripts.corruption.clean import SHIPPED, clean_files, like_a_photograph
from scripts.corruption.encoders import WAYS


def scene(width=400, height=300, seed=0):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    wide = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return Image.fromarray(np.clip(wide + rng.normal(0, 9, wide.shape), 0, 255).astype(np.uint8))


def encode(image, file_format="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("way", WAYS)
def test_every_way_writes_a_clean_jpeg(way):
    data = WAYS[way](scene())
    assert data.startswith(b"\xff\xd8")
    assert bench_corruption.our_reason(data) == "ok"
    assert min(open_picture(data).luma_full.shape) >= 300


def test_a_thumbnail_is_in_the_second_directory():
    exif = Image.open(io.BytesIO(WAYS["EXIF thumbnail"](scene()))).getexif()
    second = exif.get_ifd(ExifTags.IFD.IFD1)
    start = second[ExifTags.Base.JpegIFOffset]
    assert start == 72
    data = WAYS["EXIF thumbnail"](scene())
    at = data.index(b"Exif\0\0") + 6 + start
    thumbnail = data[at : at + second[ExifTags.Base.JpegIFByteCount]]
    assert max(Image.open(io.BytesIO(thumbnail)).size) == 160


def test_photographs_are_told_from_screenshots_by_their_shades():
    screen = Image.new("RGB", (400, 300), "white")
    screen.paste(scene(180, 120), (20, 20))
    assert like_a_photograph(open_picture(encode(scene())))
    assert not like_a_photograph(open_picture(encode(screen)))
    assert not like_a_photograph(open_picture(encode(scene(200, 150))))


def test_clean_files_are_those_shipped_and_those_written(tmp_path):
    (tmp_path / "in").mkdir()
    shipped = encode(scene(700, 500), quality=70)
    (tmp_path / "a.jpg").write_bytes(shipped)
    (tmp_path / "in" / "again.jpeg").write_bytes(shipped)
    (tmp_path / "b.png").write_bytes(encode(scene(seed=1), "PNG"))
    (tmp_path / "c.png").write_bytes(encode(Image.new("RGB", (300, 300)), "PNG"))
    (tmp_path / "d.jpg").write_bytes(shipped[:3000])
    found = list(clean_files([tmp_path], photographs=True, times=3))
    assert [(clean.source.name, clean.way == SHIPPED) for clean in found] == [
        ("a.jpg", True),
        *[("a.jpg", False)] * 3,
        *[("b.png", False)] * 3,
        ("d.jpg", True),
    ]
    written = [clean for clean in found if clean.way != SHIPPED]
    assert [max(Image.open(io.BytesIO(clean.data)).size) for clean in written[:3]] == [
        700,
        512,
        700,
    ]
    assert len({clean.way for clean in written}) == 6
    assert len(list(clean_files([tmp_path], photographs=False, times=1))) == 5


def test_the_benchmark_counts_alarms_and_passes_over_missing_folders(tmp_path, capsys):
    (tmp_path / "a.jpg").write_bytes(encode(scene()))
    assert bench_corruption.main(["--drawings", str(tmp_path), str(tmp_path / "none")]) == 1
    said = capsys.readouterr().out
    assert f"no folder {tmp_path / 'none'}" in said
    assert "clean drawings" in said  # too few of them
    assert "false alarm:" not in said
    (tmp_path / "b.jpg").write_bytes(encode(scene(seed=1))[:-500])
    bench_corruption.main(["--drawings", str(tmp_path)])
    assert f"false alarm: {tmp_path / 'b.jpg'}, as shipped: truncated" in capsys.readouterr().out
    assert bench_corruption.main(["--clean", str(tmp_path / "none")]) == 0
