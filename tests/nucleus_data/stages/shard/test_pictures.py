"""What a set stores of a picture: upright sRGB of the bucket's size, or an original that fits."""

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageCms

from nucleus_data.corpus.tables import KEY_FIELDS, Table
from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.signals import file as file_signals
from nucleus_data.stages.shard import write
from nucleus_data.stages.shard.chosen import kept_records
from nucleus_data.stages.shard.pictures import PLAIN, bytes_of, is_plain, stored
from nucleus_data.stages.shard.settings import ShardSettings
from nucleus_data.world.corpora import write_part
from scripts.bench_plan import TABLES
from tests.support.sets import ident, members
from tests.support.written import pictured, written

SIZE = (80, 64)


def pixels(seed=0, size=SIZE, mode="RGB"):
    colours = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC).convert(mode)


def jpeg(image, **options):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90, **options)
    return stream.getvalue()


def turned(image):
    """Stored on its side, with the EXIF orientation that turns it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(image.transpose(Image.Transpose.ROTATE_90), exif=exif)


def png(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def opened(data):
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


def make(data, target=SIZE, **settings):
    header = open_picture(data).header
    record = {"crop": [0, 0, header.width, header.height]}
    return stored(data, record, target, ShardSettings(**settings))


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ORIGINAL = {
    "plain": jpeg(pixels()),
    "turned": turned(pixels()),
    "grey": jpeg(pixels(mode="L")),
    "cmyk": jpeg(pixels(mode="CMYK")),
    "profile": jpeg(pixels(), icc_profile=SRGB),
    "alpha": png(pixels(mode="RGBA")),
    "large": jpeg(pixels(size=(160, 128))),
    "a little larger": jpeg(pixels(size=(100, 80))),
}


def test_what_inspect_was_told_to_read_is_stored():
    """A picture that by itself is too long: `inspect.max_aspect` may say otherwise."""
    record = {"crop": [0, 0, 80, 2]}
    long = png(pixels(size=(3000, 2)))
    assert opened(stored(long, record, (80, 2), ShardSettings()).data).size == (80, 2)


@pytest.mark.parametrize("name", ORIGINAL)
def test_an_original_keeps_its_bytes_only_where_any_reader_shows_it_right(name):
    data = ORIGINAL[name]
    found = make(data, format="original")
    kept = name in ("plain", "a little larger")
    assert (found.data == data) == kept
    image = opened(found.data)
    assert (image.format, image.mode) == ("JPEG", "RGB")
    assert image.size == (found.width, found.height)
    assert (found.width, found.height) == ((100, 80) if name == "a little larger" else SIZE)
    assert not found.data.startswith(data) or kept
    assert (image.getexif().get(0x0112, 1), image.info.get("icc_profile")) == (1, None)
    assert make(data, format="original", original_scale=1).data != data or name == "plain"


@pytest.mark.parametrize("name", ORIGINAL)
def test_what_inspect_says_of_an_original_decides_as_its_header_does(name):
    data = ORIGINAL[name]
    header = open_picture(data).header
    facts = {n: getattr(header, n) for n in PLAIN}
    sides = {"original_width": header.width, "original_height": header.height}
    record = {"crop": [0, 0, header.width, header.height], "plain": is_plain(**facts), **sides}
    found = stored(data, record, SIZE, ShardSettings(format="original"))
    assert found.data == make(data, format="original").data
    assert (found.width, found.height) == opened(found.data).size


def test_an_original_that_is_known_to_be_plain_is_not_opened():
    record = {"crop": [0, 0, 80, 64], "original_width": 80, "original_height": 64}
    settings = ShardSettings(format="original")
    assert stored(b"anything", {**record, "plain": True}, SIZE, settings).data == b"anything"
    for plain in (False, None):
        with pytest.raises(PixelError):
            stored(b"anything", {**record, "plain": plain}, SIZE, settings)


def test_a_plan_knows_which_originals_are_plain(tmp_path):
    corpus = pictured(tmp_path, {"plain.jpg": ORIGINAL["plain"], "grey.jpg": ORIGINAL["grey"]})
    rows = corpus.records.read(0, ["shard", "row", "id"]).to_pylist()
    for row, name in zip(rows, ("plain", "grey"), strict=True):
        row |= file_signals.measure(open_picture(ORIGINAL[name]), None)
    tables = {**TABLES, "inspect.file": "e" * 16}
    schema = pa.schema([*KEY_FIELDS, *file_signals.group.schema])
    table = Table(corpus.store, "inspect.file", tables["inspect.file"])
    write_part(table, 0, pa.Table.from_pylist(rows, schema))
    of = {
        form: kept_records(corpus, tables, 0, ShardSettings(format=form), 1)
        for form in ("original", "jpeg")
    }
    assert of["original"].column("plain").to_pylist() == [True, False]
    assert of["jpeg"].column("plain").to_pylist() == [None, None]


@pytest.mark.parametrize(("form", "name"), [("jpeg", "JPEG"), ("webp", "WEBP")])
@pytest.mark.parametrize("original", ["plain", "turned", "alpha", "large", "profile"])
def test_a_stored_picture_is_upright_srgb_of_its_buckets_size(form, name, original):
    found = make(ORIGINAL[original], format=form)
    image = opened(found.data)
    assert (image.format, image.mode, image.size) == (name, "RGB", SIZE)
    assert not image.getexif()
    wanted = np.asarray(pixels(), float)
    error = np.abs(np.asarray(image, float) - wanted).mean()
    assert error < 12  # the same picture, the same way up
    assert error < np.abs(np.asarray(image, float)[::-1, ::-1] - wanted).mean() / 3


def test_a_better_quality_loses_less_and_takes_more():
    data = png(pixels(1, (160, 128)))
    wanted = open_picture(data).rgb(size=SIZE).astype(float)
    found = [make(data, quality=quality) for quality in (50, 80, 95)]
    loss = [((np.asarray(opened(f.data), float) - wanted) ** 2).mean() for f in found]
    assert loss == sorted(loss, reverse=True)
    sizes = [len(f.data) for f in found]
    assert sizes == sorted(sizes)
    estimates = [bytes_of(ShardSettings(quality=q), SIZE) for q in (50, 80, 95)]
    assert estimates == sorted(estimates)


@pytest.mark.parametrize("form", ["jpeg", "webp", "original"])
def test_a_set_tells_what_encoding_lost(tmp_path, monkeypatch, form):
    monkeypatch.setattr(write, "MEASURED", 1)
    images = [pixels(n, (72, 56)) for n in range(5)]
    corpus = pictured(tmp_path / "c", {f"{n}.jpg": jpeg(image) for n, image in enumerate(images)})
    made = written(corpus, ShardSettings(resolutions=(64,), multiple=8, quality=60, format=form))
    about = made.about()
    assert (about["format"], about["quality"], about["crop"]) == (form, 60, "centre")
    if form == "original":
        assert about["psnr"] is None
        return
    assert about["psnr_values"] == 5 * 72 * 56 * 3
    errors = []
    rows = {row["id"]: row for row in corpus.records.read(0).to_pylist()}
    for tar in made.manifest():
        for key, files in members(made, tar.path).items():
            row = rows[key]
            data = corpus.store.read_range("images/000000.tar", row["offset"], row["size"])
            (stored_file,) = (files[end] for end in ("jpg", "webp") if end in files)
            difference = np.asarray(opened(stored_file), float) - open_picture(data).rgb()
            errors.append((difference**2).mean())
    assert about["psnr"] == pytest.approx(10 * np.log10(255**2 / np.mean(errors)), abs=0.01)


def test_one_undecodable_picture_costs_itself_alone(tmp_path):
    good = {f"{n}.jpg": jpeg(pixels(n)) for n in range(6)}
    bad = {"bad.jpg": ORIGINAL["plain"][:300] + bytes(400)}
    corpus = pictured(tmp_path / "c", {**good, **bad}, sizes={"bad.jpg": SIZE})
    made = written(corpus, ShardSettings(resolutions=(64,), multiple=8, samples_per_tar=4))
    tars = made.manifest()
    assert sum(tar.samples for tar in tars) == 6
    keys = {row["key"]: row["id"] for row in corpus.records.read(0).to_pylist()}
    (lost,) = made.left_out().to_pylist()
    assert (lost["id"], lost["resolution"]) == (keys["bad.jpg"], 64)
    assert lost["reason"].startswith("undecodable:")
    ids = {i for tar in tars for i in members(made, tar.path)}
    assert ids == {keys[name] for name in good}
    for tar in tars:
        assert made.index(tar.path).num_rows == tar.samples
    assert ident(0) not in ids
