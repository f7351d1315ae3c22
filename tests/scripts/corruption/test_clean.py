"""Which files count as clean, and as photographs."""

import io

from PIL import Image

from nucleus_data.pixels import open_picture
from scripts.corruption.clean import SHIPPED, clean_files, like_a_photograph
from tests.scripts.corruption.noisy import encode, scene


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
