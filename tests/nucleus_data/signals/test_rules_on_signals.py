"""The groups colour, sharpness, compression and layout, on pictures whose answer is known."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from nucleus_data.line.recipe import load_recipe
from nucleus_data.pixels import open_picture
from nucleus_data.signals import colour, compression, layout, load_group, sharpness
from nucleus_data.signals.bands import bands
from nucleus_data.stages.inspect.stage import Inspect, InspectSettings
from nucleus_data.world import WorldSettings
from nucleus_data.world.expected import OWN
from scripts import bench_rules
from scripts.rules import measuring
from scripts.rules.counting import decided
from tests.support.quick import quick

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
GROUPS = (colour.group, sharpness.group, compression.group, layout.group)
BICUBIC = Image.Resampling.BICUBIC


def encode(image, file_format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def picture_of(image, file_format="PNG", **options):
    return open_picture(encode(image, file_format, **options))


def scene(width=640, height=480, seed=0, grain=4.0):
    """Blobs of many sizes and hard-edged discs, as in a photo, with some grain."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 128.0)
    for cells, strength in ((4, 40), (9, 25), (25, 15), (60, 10)):
        coarse = rng.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        for c in range(3):
            layer = Image.fromarray(coarse[..., c]).resize((width, height), BICUBIC)
            pixels[..., c] += np.asarray(layer)
    y, x = np.mgrid[:height, :width]
    for _ in range(12):
        centre, radius = rng.random(2) * (height, width), rng.uniform(0.03, 0.15) * height
        inside = np.hypot(y - centre[0], x - centre[1]) < radius
        pixels[inside] = rng.uniform(0, 255, 3)
    pixels += rng.normal(0, grain, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def luma(image):
    return np.asarray(image.convert("L"))


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
@pytest.mark.parametrize("size", quick([(1, 40), (100, 70), (1, 1), (3, 2), (33, 31)], 2))
def test_values_are_the_schemas_columns_and_fit_it(group, size):
    values = group.measure(picture_of(scene(*size), "JPEG"), "a.jpg")
    assert list(values) == group.schema.names
    row = pa.Table.from_pylist([values], schema=group.schema).to_pylist()[0]
    assert all(v is None or np.isfinite(v) for v in row.values())


def test_the_groups_are_found_by_name_and_on_by_default():
    for group in GROUPS:
        assert load_group(group.name) is group
        assert group.name in InspectSettings().signals


# colour


def colours(image):
    return colour.group.measure(picture_of(image), None)


def test_colours_of_one_colour():
    red = colours(Image.new("RGB", (40, 30), (255, 0, 0)))
    assert (red["luma_p1"], red["luma_p99"]) == (76, 76)
    # R - G is 255, (R + G)/2 - B is 127.5: 285 long, cut to the range.
    assert red["cast"] == 1.0
    assert red["cast_factor"] == 100.0
    assert red["colourfulness"] == pytest.approx(0.3 * np.hypot(255, 127.5))
    assert (red["grey_share"], red["dominant_share"]) == (0.0, 1.0)
    grey = colours(Image.new("RGB", (40, 30), (90, 90, 90)))
    assert (grey["cast"], grey["cast_factor"], grey["colourfulness"]) == (0.0, 0.0, 0.0)
    assert (grey["grey_share"], grey["dominant_share"]) == (1.0, 1.0)


def test_colourfulness_follows_its_formula():
    image = scene(60, 40)
    pixels = np.asarray(image).astype(float)
    rg = pixels[..., 0] - pixels[..., 1]
    yb = (pixels[..., 0] + pixels[..., 1]) / 2 - pixels[..., 2]
    spread, distance = np.hypot(rg.std(), yb.std()), np.hypot(rg.mean(), yb.mean())
    values = colours(image)
    assert values["colourfulness"] == pytest.approx(spread + 0.3 * distance)
    assert values["cast"] == pytest.approx(distance / 255)
    assert values["cast_factor"] == pytest.approx(distance / spread)


def test_a_tint_is_a_cast_and_two_opposite_colours_are_none():
    plain = scene(200, 150)
    tinted = Image.blend(plain, Image.new("RGB", plain.size, (40, 60, 250)), 0.6)
    assert colours(tinted)["cast_factor"] > 3 * colours(plain)["cast_factor"]
    halves = Image.new("RGB", (60, 60), (228, 100, 164))
    halves.paste((28, 156, 92), (30, 0, 60, 60))  # the same distance from (128, 128, 128)
    assert colours(halves)["cast"] == pytest.approx(0, abs=1e-6)
    assert colours(halves)["dominant_share"] == 0.5


def test_percentiles_of_luma():
    ramp = Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10))
    values = colours(ramp)
    assert (values["luma_p1"], values["luma_p99"]) == (0, 98)


def test_a_colour_on_a_border_of_cubes_is_still_one():
    noisy = 128 + np.random.default_rng(0).integers(-3, 4, (50, 50, 3))
    assert colours(Image.fromarray(noisy.astype(np.uint8)))["dominant_share"] == 1.0


# sharpness


def test_a_hard_edge_is_one_pixel_wide_and_a_ramp_as_wide_as_it_is():
    edge = np.zeros((64, 64), np.uint8)
    edge[:, 40:] = 200
    assert sharpness.edge_width(edge) == 1.0
    for wide in (2, 4, 5):
        ramp = np.clip((np.arange(96) - 44) * (200 // wide), 0, 200).astype(np.uint8)
        assert sharpness.edge_width(np.tile(ramp, (96, 1))) == pytest.approx(wide)
        assert sharpness.edge_width(np.tile(ramp, (96, 1)).T) == pytest.approx(wide)


@pytest.mark.parametrize("side", quick([256, 2048], 1))
def test_blur_of_the_same_sigma_measures_alike_at_any_size(side):
    sharp = scene(side, side // 2).convert("L")
    widths = [sharpness.edge_width(luma(sharp))]
    for sigma in (1, 2, 4, 12):
        blurred = sharp.filter(ImageFilter.GaussianBlur(sigma))
        widths.append(sharpness.edge_width(luma(blurred)))
        assert widths[-1] == pytest.approx(2.5 * sigma, rel=0.35)
    assert widths == sorted(widths)
    assert widths[0] < 1.3


def test_contrast_does_not_change_sharpness():
    sharp = luma(scene(400, 300, grain=0).filter(ImageFilter.GaussianBlur(2)))
    faint = (100 + 0.4 * sharp).astype(np.uint8)
    assert sharpness.edge_width(faint) == pytest.approx(sharpness.edge_width(sharp), rel=0.15)


def test_what_is_in_focus_decides():
    sharp = scene(640, 480)
    shallow = sharp.filter(ImageFilter.GaussianBlur(8))
    shallow.paste(sharp.crop((200, 100, 440, 380)), (200, 100))
    assert sharpness.edge_width(luma(shallow)) < 1.5


@pytest.mark.parametrize("level", [0, 77, 255])
def test_one_colour_has_no_edges(level):
    flat = np.full((200, 300), level, np.uint8)
    assert sharpness.edge_width(flat) is None
    assert sharpness.upscaling(bands(flat)) == 0.0


@pytest.mark.parametrize("seed", quick(range(3), 1))
@pytest.mark.parametrize("quality", [95, 85])
def test_enlarged_pictures_are_suspected(seed, quality):
    original = scene(640, 480, seed)
    small = original.resize((320, 240), Image.Resampling.LANCZOS)
    values = [
        sharpness.group.measure(picture_of(image, "JPEG", quality=quality), None)
        for image in (original, small.resize((640, 480), BICUBIC))
    ]
    assert values[1]["upscaling"] > values[0]["upscaling"] + 5
    assert values[1]["edge_width"] > values[0]["edge_width"] + 0.4


def test_white_noise_has_more_high_frequency_than_nature():
    noise = np.random.default_rng(2).integers(0, 256, (256, 256), dtype=np.uint8)
    assert sharpness.upscaling(bands(noise)) == 0.0


# compression


@pytest.mark.parametrize("quality", [1, 5, 12, 25, 30, 49, 50, 51, 60, 75, 90, 95, 100])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_the_quality_that_a_jpeg_was_saved_at(quality, options):
    data = encode(scene(64, 48), "JPEG", quality=quality, **options)
    assert compression.jpeg_quality(open_picture(data).header.quantisation) == quality


def test_quality_of_other_tables_is_near_and_other_formats_have_none():
    image = scene(64, 48)
    flat = [[16] * 64, [16] * 64]
    table = picture_of(image, "JPEG", qtables=flat).header.quantisation
    assert table == bytes([16] * 64)
    assert 50 < compression.jpeg_quality(table) < 90
    wide = np.full(64, 16, ">u2").tobytes()  # as 12-bit and some old JPEGs have them
    assert compression.jpeg_quality(wide) == compression.jpeg_quality(table)
    grey = picture_of(image.convert("L"), "JPEG", quality=40)
    assert compression.jpeg_quality(grey.header.quantisation) == 40
    for file_format in ("PNG", "WEBP"):
        values = compression.group.measure(picture_of(image, file_format), None)
        assert values["jpeg_quality"] is None


def test_the_table_of_the_first_component_counts_and_long_metadata_is_passed_over():
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    coarse, fine = [60] * 64, [2] * 64
    data = encode(scene(64, 48), "JPEG", qtables=[coarse, fine], exif=exif.tobytes())
    assert open_picture(data).header.quantisation == bytes([60] * 64)


def test_blockiness_rises_as_quality_falls():
    image = scene(320, 240)
    found = [
        compression.blockiness(picture_of(image, "JPEG", quality=q).luma_full)
        for q in (95, 60, 30, 10)
    ]
    assert found == sorted(found)
    assert found[0] < 0.1
    assert found[-1] > 1
    assert compression.blockiness(luma(image)) < 0.1


def test_blocks_are_seen_after_a_crop_and_another_encoding():
    coarse = Image.open(io.BytesIO(encode(scene(320, 240), "JPEG", quality=10)))
    cropped = coarse.crop((3, 5, 300, 230))
    expected = compression.blockiness(luma(coarse))
    assert compression.blockiness(luma(cropped)) == pytest.approx(expected, rel=0.1)
    again = picture_of(cropped, "JPEG", quality=95)
    assert compression.blockiness(again.luma_full) > 0.6 * expected


def test_blockiness_of_known_steps():
    """Steps of 8 at every eighth column, none elsewhere, and none along columns."""
    row = (np.arange(64) // 8 * 8).astype(np.uint8)
    steps = np.tile(row, (64, 1))
    # 7 of the 7 whole groups of 8 neighbours hold one step each at one place.
    assert compression.blockiness(steps) == pytest.approx(((8 + 0.5) / 0.5 - 1) / 2)
    assert compression.blockiness(np.full((64, 64), 9, np.uint8)) == 0.0
    assert compression.blockiness(steps[:20]) == 0.0


def test_bytes_over_expected():
    image = scene(640, 480)
    ratio = {
        q: compression.group.measure(picture_of(image, "JPEG", quality=q), None)[
            "bytes_over_expected"
        ]
        for q in (95, 75, 10)
    }
    assert ratio[95] > ratio[75] > ratio[10]
    grey = picture_of(image.convert("L"), "JPEG", quality=75)
    value = compression.group.measure(grey, None)["bytes_over_expected"]
    assert value == pytest.approx(1, abs=0.15)
    assert ratio[10] < 0.75


# layout


def borders(values):
    return [values[f"border_{side}"] for side in ("left", "top", "right", "bottom")]


@pytest.mark.parametrize("colour_of", ["white", "black", (40, 90, 140)])
@pytest.mark.parametrize("options", [("PNG", {}), ("JPEG", {"quality": 60})], ids=lambda o: o[0])
def test_a_frame_has_the_border_that_was_drawn(colour_of, options):
    framed = ImageOps.expand(scene(400, 300), (20, 16, 32, 40), colour_of)
    values = layout.group.measure(picture_of(framed, options[0], **options[1]), None)
    drawn = [20 / 452, 16 / 356, 32 / 452, 40 / 356]
    assert borders(values) == pytest.approx(drawn, abs=3.1 / 356)
    assert values["seam_vertical"] < 0.6


def test_a_caption_strip_is_a_border_with_text():
    image = Image.new("RGB", (400, 340), (245, 245, 245))
    image.paste(scene(400, 300), (0, 0))
    ImageDraw.Draw(image).text((60, 312), "some words below a picture", fill=(10, 10, 10))
    found = borders(layout.group.measure(picture_of(image), None))
    assert found == [0, 0, 0, pytest.approx(40 / 340)]


@pytest.mark.slow
def test_no_border_where_nothing_was_drawn():
    assert borders(layout.group.measure(picture_of(scene()), None)) == [0, 0, 0, 0]
    assert borders(layout.group.measure(picture_of(Image.new("RGB", (90, 90))), None)) == [0] * 4
    on_white = Image.new("RGB", (400, 400), "white")
    ImageDraw.Draw(on_white).ellipse((100, 100, 300, 300), fill=(120, 30, 30))
    assert borders(layout.group.measure(picture_of(on_white), None)) == [0, 0, 0, 0]
    sky = np.tile(np.linspace(230, 90, 400)[:, None], (1, 300)).astype(np.uint8)
    assert borders(layout.group.measure(picture_of(Image.fromarray(sky)), None)) == [0, 0, 0, 0]


@pytest.mark.slow
def test_a_collage_has_seams_and_its_parts_have_none():
    collage = Image.new("RGB", (600, 400))
    for place, seed in (((0, 0), 1), ((300, 0), 2), ((0, 200), 3), ((300, 200), 4)):
        part = ImageOps.expand(scene(292, 192, seed, grain=1), 4, "white")
        collage.paste(part, place)
        alone = layout.group.measure(picture_of(scene(300, 200, seed, grain=1)), None)
        assert max(alone["seam_vertical"], alone["seam_horizontal"]) < 0.4
    for image in (collage, collage.resize((450, 300), Image.Resampling.LANCZOS)):
        values = layout.group.measure(picture_of(image, "JPEG", quality=85), None)
        assert values["seam_vertical"] > 0.7
        assert values["seam_horizontal"] > 0.7


def test_seams_of_known_lines():
    halves = np.full((100, 80), 60, np.uint8)
    halves[:, 40:] = 180
    assert layout.seams(halves) == (1.0, 0.0)
    assert layout.seams(halves.T) == (0.0, 1.0)
    halves[:25] = 60
    assert layout.seams(halves)[0] == 0.75
    assert layout.seams(halves[:20]) == (0.0, 0.0)


@pytest.mark.slow
def test_tilings_repeat_and_scenes_do_not():
    tile = scene(200, 150)
    for columns, rows in ((2, 1), (3, 1), (1, 4), (2, 2)):
        tiled = Image.new("RGB", (200 * columns, 150 * rows))
        for x in range(columns):
            for y in range(rows):
                tiled.paste(tile, (200 * x, 150 * y))
        values = layout.group.measure(picture_of(tiled, "JPEG", quality=80), None)
        assert values["repetition"] > 0.85
    assert layout.group.measure(picture_of(scene()), None)["repetition"] < 0.4
    ramp = np.tile(np.arange(256, dtype=np.uint8), (100, 1))
    assert layout.repetition(ramp) < 0.5


@pytest.mark.parametrize("name", ["nano", "full"])
def test_light_drawings_on_transparency_are_judged_on_a_ground_that_shows_them(name):
    """No rule rejects them; those that reject what is empty still do."""
    recipe = load_recipe(CONFIGS / f"{name}/recipe.yaml")
    drawings = []
    for level in (255, 246, 235):
        image = Image.new("RGBA", (400, 300), (level, level, level, 0))
        draw = ImageDraw.Draw(image)
        for x in range(40, 360, 40):
            draw.line((x, 40, 380 - x, 260), fill=(level, level, level, 255), width=5)
        draw.ellipse((150, 100, 250, 200), fill=(level, 255, level, 255))
        drawings.append(image)
    empty = Image.new("RGBA", (400, 300), (255, 255, 255, 0))
    pale = Image.new("RGB", (400, 300), "white")
    pale.paste(drawings[0], (0, 0), drawings[0])
    signals = recipe.section(Inspect).signals
    rows = [
        measuring.file_row(signals, "", "", encode(image), "x.png")
        for image in (*drawings, empty, pale)
    ]
    *found, nothing, on_white = decided(rows, recipe)
    assert found == [set()] * 3
    assert "blank" in nothing
    assert "blank" in on_white
    assert len({row["phash"] for row in rows[:3]} & {rows[3]["phash"]}) == 0


@pytest.mark.slow
def test_the_rules_find_what_was_planted():
    """The benchmark of the rules at its smallest: each fault once, at its high strength."""
    faults = (*OWN, "bordered", "mirrored", "exact_copy", "oriented")
    world = WorldSettings(60, 9, fault_share=0.5, faults=faults, strengths=(2,))
    recipe = load_recipe(CONFIGS / "nano/recipe.yaml")
    rows = measuring.world(
        measuring.Bench(world, (*recipe.section(Inspect).signals, "canonical")), 1
    )
    measures = list(bench_rules.table(rows, recipe))
    assert [m.name for m in measures if m.met is False] == []
    found = {m.name: m.value for m in measures}
    assert found["mirrored, high: duplicate by hash"] == 0  # it is not made for mirrors and borders
    assert found["bordered, high: duplicate by hash"] == 0
    assert found["mirrored, high: duplicate by canonical"] == 1
    assert sum(" high: found by " in name for name in found) == len(OWN) + 1
