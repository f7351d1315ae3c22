import csv
import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from nucleus_data.world import captions, render, scene, write_demo
from nucleus_data.world.demo import COPIES, FAULTS


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return folder, write_demo(folder, images=45, seed=5)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def phash(picture: Image.Image) -> np.ndarray:
    """64 bits of a 32 x 32 DCT's low end; a test's own, so that a mistake in ours can't hide."""
    n = np.arange(32)
    basis = np.cos(np.pi * (n[None] + 0.5) * n[:, None] / 32)
    upright = ImageOps.exif_transpose(picture).convert("L")
    small = np.asarray(upright.resize((32, 32), Image.Resampling.BOX), dtype=float)
    low = (basis @ small @ basis.T)[:8, :8].ravel()
    return low > np.median(low[1:])


def test_scene_is_a_function_of_seed_and_index():
    backwards = [scene(3, i) for i in reversed(range(20))]
    assert backwards[::-1] == [scene(3, i) for i in range(20)]
    assert scene(3, 0) != scene(4, 0)


def test_pictures_are_equal_byte_for_byte_in_any_order():
    forth = [np.asarray(render(scene(1, i), 48, 40)) for i in range(8)]
    back = [np.asarray(render(scene(1, i), 48, 40)) for i in reversed(range(8))]
    for a, b in zip(forth, reversed(back), strict=True):
        np.testing.assert_array_equal(a, b)


def test_render_keeps_to_the_size():
    picture = render(scene(0, 0), 57, 91)
    assert (picture.size, picture.mode) == ((57, 91), "RGB")


def test_captions_say_every_fact():
    for index in range(50):
        facts = scene(2, index)
        said = captions(facts)
        assert facts.background in said["short"]
        assert facts.background in said["long"]
        for shape in facts.shapes:
            thing = f"{shape.size} {shape.color} {shape.kind}"
            assert thing in said["short"]
            assert thing in said["long"]
        assert len(said["long"]) > len(said["short"])
        assert len(facts.shapes) in (1, 2)


def test_a_shape_is_painted_where_the_facts_say():
    facts = next(s for i in range(100) if (s := scene(0, i)).shapes[0].kind == "circle")
    shape = facts.shapes[0]
    picture = np.asarray(render(facts, 200, 120), dtype=float)
    x, y = round(shape.x * 200), round(shape.y * 120)
    inside = picture[y - 3 : y + 4, x - 3 : x + 4].mean(axis=(0, 1))
    from nucleus_data.world.scenes import COLORS

    assert np.abs(inside - COLORS[shape.color]).max() < 20


def test_unrelated_scenes_do_not_share_a_perceptual_hash():
    hashes = np.array([phash(render(scene(0, i), 96, 96)) for i in range(80)])
    distance = (hashes[:, None] != hashes[None]).sum(-1)[np.triu_indices(80, 1)]
    assert distance.min() > 4
    assert 24 < distance.mean() < 40


def test_the_same_scene_at_another_size_is_a_near_duplicate():
    for i in range(5):
        a, b = (phash(render(scene(0, i), *size)) for size in ((240, 180), (120, 90)))
        assert (a != b).sum() <= 4


def test_demo_is_the_same_bytes_again(demo, tmp_path):
    folder, truth = demo
    assert write_demo(tmp_path, images=45, seed=5) == truth
    assert digests(tmp_path) == digests(folder)


def test_truth_names_every_picture_and_every_fault(demo):
    folder, truth = demo
    with (folder / "truth.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [(r["file"], r["fault"], r["original"]) for r in rows] == [
        (t.file, t.fault, t.original) for t in truth
    ]
    pictures = {f for f in digests(folder) if not f.endswith((".txt", ".csv"))}
    assert {t.file for t in truth} == pictures
    assert len(truth) == 45
    assert {t.fault for t in truth} == {"none", *FAULTS, *COPIES}
    for entry in truth:
        assert bool(entry.original) == (entry.fault in COPIES)
        assert not entry.original or entry.original in pictures


def test_faults_are_what_truth_says(demo):
    folder, truth = demo

    def by(fault: str) -> Path:
        return next(folder / t.file for t in truth if t.fault == fault)

    assert by("html").read_bytes().startswith(b"<!DOCTYPE")
    assert by("mislabelled").suffix == ".jpg"
    assert by("mislabelled").read_bytes().startswith(b"\x89PNG")
    with Image.open(by("truncated")) as picture, pytest.raises(OSError, match="truncated"):
        picture.load()
    modes = {"alpha": "RGBA", "cmyk": "CMYK", "sixteen_bit": "I;16"}
    for fault, mode in modes.items():
        with Image.open(by(fault)) as picture:
            assert picture.mode == mode
    with Image.open(by("animated")) as picture:
        assert picture.n_frames == 3
    with Image.open(by("tiny")) as picture:
        assert picture.size == (16, 16)
    with Image.open(by("black")) as picture:
        assert picture.getextrema() == ((0, 0),) * 3


def test_copies_are_near_their_originals(demo):
    folder, truth = demo
    for entry in truth:
        if not entry.original:
            continue
        if entry.fault == "exact_copy":
            assert (folder / entry.file).read_bytes() == (folder / entry.original).read_bytes()
        with Image.open(folder / entry.file) as a, Image.open(folder / entry.original) as b:
            far = 12 if entry.fault.startswith("chain") else 4
            assert (phash(a) != phash(b)).sum() <= far
    turned = next(t for t in truth if t.fault == "turned")
    with Image.open(io.BytesIO((folder / turned.file).read_bytes())) as picture:
        assert picture.getexif()[0x0112] == 6


def test_most_pictures_have_a_caption(demo):
    folder, truth = demo
    with_caption = sum((folder / t.file).with_suffix(".txt").exists() for t in truth)
    assert 0.75 < with_caption / len(truth) < 1


def test_too_few_pictures_for_every_fault_is_refused(tmp_path):
    with pytest.raises(ValueError, match="40 or more"):
        write_demo(tmp_path, images=10)
