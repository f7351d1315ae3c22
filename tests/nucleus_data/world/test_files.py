"""Planned worlds, their faults, and what is written."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image, ImageOps

from nucleus_data.commands.world import world
from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.signals.grid import hash_words
from nucleus_data.signals.hash import COARSE, FINE
from nucleus_data.world import FAULTS, WorldPlan, WorldSettings, make, scene, write_world
from nucleus_data.world.files import ADOBE, P3, matrix_profile
from nucleus_data.world.plan import COPY_FAULTS, NONE

SMALL = (128, 240)


def planned(fault, strength, level="core"):
    """A small world with one fault, and the first line that has it."""
    settings = WorldSettings(
        8, 3, level, fault_share=0.25, faults=(fault,), strengths=(strength,), long_side=(300, 400)
    )
    plan = WorldPlan(settings)
    return plan, next(p for p in plan if p.fault == fault)


def picture_of(plan, line):
    return Image.open(io.BytesIO(make(plan, line)[0]))


def far(a, b):
    """Distance of the hashes of two pictures as they are seen."""
    one, other = (
        hash_words(np.asarray(ImageOps.exif_transpose(p).convert("L")), COARSE, FINE)[0]
        for p in (a, b)
    )
    return (one ^ other).bit_count()


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_faults_and_strengths_are_equally_often():
    plan = WorldPlan(WorldSettings(1000, 1, fault_share=0.4))
    counts: dict[tuple[str, int], int] = {}
    for line in plan:
        if line.fault != NONE:
            counts[line.fault, line.strength] = counts.get((line.fault, line.strength), 0) + 1
    assert sum(counts.values()) == 400
    assert {fault for fault, _ in counts} == set(FAULTS)
    without_chains = [n for (fault, _), n in counts.items() if fault != "chain"]
    assert max(without_chains) - min(without_chains) <= 1


def test_a_line_does_not_depend_on_the_others_that_were_asked_for():
    settings = WorldSettings(300, 2, "full")
    assert [WorldPlan(settings)[i] for i in reversed(range(300))][::-1] == list(WorldPlan(settings))


def test_copies_name_a_clean_original_or_the_start_of_their_chain():
    plan = WorldPlan(WorldSettings(600, 4, fault_share=0.5))
    lines = list(plan)
    for line in lines:
        assert (line.original >= 0) == (line.fault in COPY_FAULTS)
        if line.original < 0:
            continue
        source = lines[line.original]
        assert source.fault == ("chain_start" if line.fault == "chain" else NONE)
        assert (line.scene, line.width, line.height) == (source.scene, source.width, source.height)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"faults": ("blurred", "stolen")}, "unknown faults stolen; known: "),
        ({"level": "hard"}, "level must be one of core, full, got 'hard'"),
        ({"fault_share": 0.95}, r"fault_share must be 0 to 0.9, got 0.95"),
        ({"images": 0}, "images >= 1"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        WorldSettings(**{"images": 10, **wrong})


@pytest.mark.slow
@pytest.mark.parametrize("form", ["folder", "tars", "urls"])
def test_the_bytes_do_not_depend_on_the_workers(form, tmp_path):
    images = 1100 if form == "tars" else 80
    settings = WorldSettings(images, 5, "full", fault_share=0.3, long_side=SMALL)
    one = write_world(tmp_path / "one", settings, form, workers=1)
    two = write_world(tmp_path / "two", settings, form, workers=2)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert one.relative_to(tmp_path / "one") == two.relative_to(tmp_path / "two")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    write_world(root, WorldSettings(80, 6, fault_share=0.6, long_side=SMALL), workers=1)
    return root, pq.read_table(root / "truth.parquet").to_pylist()


@pytest.mark.slow
def test_the_truth_names_every_file(folder):
    root, truth = folder
    pictures = {f: d for f, d in digests(root / "pictures").items() if not f.endswith(".txt")}
    assert {row["file"]: row["sha256"] for row in truth} == pictures
    assert {row["fault"] for row in truth} == {NONE, *FAULTS}
    assert [row["index"] for row in truth] == list(range(80))
    for row in truth:
        assert (
            json.loads(row["scene"])["index"] == int(row["file"].rsplit("/")[-1][:7])
            or row["original"]
        )
        text = (root / "pictures" / row["file"]).with_suffix(".txt")
        assert (text.read_text().rstrip("\n") if text.exists() else "") == row["alt_text"]
        assert len(row["ratings"]) == 3


@pytest.mark.slow
def test_a_clean_picture_decodes_to_what_the_truth_says(folder):
    root, truth = folder
    for row in truth:
        if row["fault"] == NONE:
            with Image.open(root / "pictures" / row["file"]) as picture:
                assert picture.size == (row["width"], row["height"])
                assert picture.format == row["format"]


@pytest.mark.slow
def test_tars_hold_the_pictures_and_their_captions(tmp_path):
    source = write_world(tmp_path, WorldSettings(30, 7, long_side=SMALL), "tars", workers=1)
    truth = pq.read_table(tmp_path / "truth.parquet").to_pylist()
    with tarfile.open(source / "000000.tar") as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar}
    for row in truth:
        name = row["file"].removeprefix("000000.tar/")
        assert hashlib.sha256(members[name]).hexdigest() == row["sha256"]
        assert members.get(f"{Path(name).stem}.txt", b"").decode() == row["alt_text"]


def test_a_url_list_names_every_picture(tmp_path):
    source = write_world(
        tmp_path, WorldSettings(10, 7, long_side=SMALL), "urls", base_url="http://h:1/", workers=1
    )
    table = pq.read_table(source).to_pydict()
    truth = pq.read_table(tmp_path / "truth.parquet").to_pydict()
    assert table["url"] == [f"http://h:1/{file}" for file in truth["file"]]
    assert table["caption"] == truth["alt_text"]
    assert not list((tmp_path / "pictures").rglob("*.txt"))


@pytest.mark.parametrize("strength", [0, 1, 2])
@pytest.mark.parametrize("fault", ["truncated", "html", "bomb"])
def test_broken_files_are_refused_by_the_decoder(fault, strength):
    plan, line = planned(fault, strength)
    with pytest.raises(PixelError):
        open_picture(make(plan, line)[0]).rgb()


@pytest.mark.parametrize("strength", [0, 1, 2])
def test_a_corrupt_file_still_opens_and_differs(strength):
    plan, line = planned("corrupt", strength)
    data = make(plan, line)[0]
    assert bytes((16, 200, 1000)[strength]) in data
    assert data.startswith(b"\xff\xd8")


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0, 1, 2])
def test_rare_files_are_what_they_should_be(strength):
    expected = {
        "mislabelled": ("format", ("PNG", "WEBP", "GIF")[strength]),
        "animated": ("n_frames", (2, 4, 8)[strength]),
        "cmyk": ("mode", "CMYK"),
        "sixteen_bit": ("mode", "I;16"),
        "palette": ("mode", "P"),
        "alpha": ("mode", "RGBA"),
    }
    for fault, (name, value) in expected.items():
        plan, line = planned(fault, strength)
        assert getattr(picture_of(plan, line), name) == value, fault
    plan, line = planned("oriented", strength)
    assert picture_of(plan, line).getexif()[0x0112] == (6, 8, 3)[strength]


@pytest.mark.parametrize("strength", [0, 1, 2])
def test_a_color_profile_is_undone_by_the_decoder(strength):
    plan, line = planned("profile", strength)
    clean = WorldPlan(WorldSettings(8, 3, fault_share=0.0))
    seen = open_picture(make(plan, line)[0]).rgb()
    from nucleus_data.world import render

    truth = np.asarray(render(scene(3, line.index), line.width, line.height), dtype=float)
    raw = np.asarray(picture_of(plan, line).convert("RGB"), dtype=float)
    assert len(clean) == 8
    undone = np.abs(np.asarray(seen, dtype=float) - truth).mean()
    assert undone < 6
    assert np.abs(raw - truth).mean() > undone + 1


def test_profiles_are_read_by_littlecms():
    from PIL import ImageCms

    for primaries in (P3, ADOBE):
        profile = ImageCms.ImageCmsProfile(io.BytesIO(matrix_profile(primaries, 2.2)))
        assert profile.profile.red_colorant[0] == pytest.approx(primaries[0], abs=1e-3)


def luma(plan, line):
    return np.asarray(picture_of(plan, line).convert("L"), dtype=float)


@pytest.mark.slow
def test_strengths_grow():
    """Each fault is further from the clean picture, in its own measure, at a higher strength."""
    measures = {
        "blank": lambda p, line: -luma(p, line).std(),
        "over_exposed": lambda p, line: luma(p, line).mean(),
        "under_exposed": lambda p, line: -luma(p, line).mean(),
        "blurred": lambda p, line: -np.abs(np.diff(luma(p, line), axis=0)).mean(),
        "tiny": lambda p, line: -picture_of(p, line).width,
        "huge": lambda p, line: picture_of(p, line).width,
        "extreme_aspect": lambda p, line: picture_of(p, line).width / picture_of(p, line).height,
        "over_compressed": lambda p, line: -len(make(p, line)[0]),
        "truncated": lambda p, line: -len(make(p, line)[0]),
        "resized": lambda p, line: -picture_of(p, line).width,
        "cropped": lambda p, line: -picture_of(p, line).width,
        "cropped_more": lambda p, line: -picture_of(p, line).width,
        "bordered": lambda p, line: picture_of(p, line).width,
        "banner": lambda p, line: picture_of(p, line).height,
    }
    for fault, measure in measures.items():
        values = [measure(*planned(fault, strength)) for strength in (0, 1, 2)]
        assert values == sorted(values), (fault, values)
        assert values[0] < values[2], (fault, values)


@pytest.mark.parametrize("fault", ["watermarked", "dense_text", "unsafe", "logo"])
def test_something_is_painted_over(fault):
    from nucleus_data.world import render

    covered = []
    for strength in (0, 1, 2):
        plan, line = planned(fault, strength)
        clean = np.asarray(render(scene(3, line.scene), line.width, line.height), dtype=float)
        seen = np.asarray(picture_of(plan, line).convert("RGB"), dtype=float)
        covered.append(np.abs(seen - clean).mean())
    assert 0.3 < covered[0] < covered[2]


@pytest.mark.parametrize("fault", ["reencoded", "resized", "chain_start"])
def test_light_copies_are_near_their_original(fault):
    plan, line = planned(fault, 0)
    assert far(picture_of(plan, line), picture_of(plan, plan[line.original])) <= 4


def test_an_exact_copy_has_the_bytes_and_not_the_name():
    plan, line = planned("exact_copy", 0)
    assert make(plan, line)[0] == make(plan, plan[line.original])[0]
    assert line.file != plan[line.original].file


def test_wrong_and_empty_captions():
    kinds = {}
    for strength in (0, 1, 2):
        for fault in ("wrong_caption", "empty_caption"):
            plan, line = planned(fault, strength)
            entry = make(plan, line)[1]
            kinds[fault, strength] = entry["alt_kind"]
            assert entry["alt_text"] != entry["short"]
            assert (entry["alt_text"].strip(". ") == "") == (fault == "empty_caption")
    assert [kinds["wrong_caption", s] for s in (0, 1, 2)] == [
        "partly_wrong",
        "other_language",
        "other_image",
    ]


def test_the_average_picture_is_large_enough():
    lines = list(WorldPlan(WorldSettings(2000, 8)))
    assert np.mean([line.width * line.height for line in lines]) > 150_000


@pytest.mark.slow
def test_the_command_writes_a_world_and_says_where(tmp_path):
    said = CliRunner().invoke(world, ["--images", "12", "--workers", "1", str(tmp_path / "w")])
    assert said.exit_code == 0, said.output
    assert f"ingest.source={tmp_path / 'w' / 'pictures'}" in said.output
    with Image.open(tmp_path / "w" / "contact.jpg") as sheet:
        assert sheet.width == 1600
    refused = CliRunner().invoke(world, ["--serve", "--form", "tars", str(tmp_path / "w")])
    assert refused.exit_code == 2
    assert "--serve requires --form folder or urls" in refused.output
