"""The pictures of the cases: split by their names, spoiled under their names, made once."""

import pytest
from PIL import Image

from scripts.cases.making import once
from scripts.cases.pictures import captioned, halves, spoiled


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for number in range(12):
        file = folder / ("more" if number % 2 else "") / f"{number}.png"
        Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(file)
        if number != 3:
            file.with_suffix(".txt").write_text("" if number == 4 else f"picture {number}")
    return folder


def test_every_captioned_picture_is_on_one_side_with_its_caption(pictures, tmp_path):
    sides = [set(), set()]
    for side, folder in zip(sides, halves(pictures, tmp_path / "split", 0.4), strict=True):
        for file in captioned(folder):
            key = file.relative_to(folder)
            assert file.with_suffix(".txt").read_text() == f"picture {file.stem}"
            assert file.read_bytes() == (pictures / key).read_bytes()
            side.add(file.stem)
    assert all(sides)
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == {str(n) for n in range(12)} - {"3", "4"}


def test_a_share_of_the_pictures_is_spoiled_and_the_rest_is_not(pictures, tmp_path):
    found = spoiled(pictures, tmp_path / "blurred", "over_exposed", 2, 0.5)
    files = [path for path in pictures.rglob("*") if path.is_file()]
    changed = {
        path.relative_to(pictures)
        for path in files
        if (found / path.relative_to(pictures)).read_bytes() != path.read_bytes()
    }
    assert 2 <= len(changed) <= 10
    assert {path.suffix for path in changed} == {".png"}


def test_what_was_half_made_is_made_anew(tmp_path):
    target = tmp_path / "made"

    def fail(folder):
        (folder / "half").mkdir(parents=True)
        raise KeyError

    with pytest.raises(KeyError):
        once(target, fail)
    assert not target.exists()
    once(target, lambda folder: (folder / "whole").mkdir(parents=True))
    once(target, fail)
    assert [path.name for path in target.iterdir()] == ["whole"]
