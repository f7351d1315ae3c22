import importlib
import importlib.util
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nucleus_data.pixels import Limits, PixelError, open_picture


def encode(file_format, **options):
    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((48, 40)).save(buffer, file_format, **options)
    return buffer.getvalue()


SEEDS = {
    name: encode(name, **options)
    for name, options in {
        "JPEG": {},
        "PNG": {},
        "WEBP": {},
        "GIF": {},
        "TIFF": {"compression": "tiff_lzw"},
        "BMP": {},
        "AVIF": {},
        "JPEG2000": {},
    }.items()
}
if importlib.util.find_spec("pillow_heif"):
    importlib.import_module("pillow_heif").register_heif_opener()
    SEEDS["HEIF"] = encode("HEIF")


@pytest.mark.parametrize("file_format", sorted(SEEDS))
@settings(max_examples=25, derandomize=True)
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=12),
    head_flips=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    keep=st.floats(0, 1),
)
def test_mutated_files_raise_nothing_but_pixel_error(file_format, flips, head_flips, keep):
    data = bytearray(SEEDS[file_format])
    for place, value in flips:
        data[int(place * len(data))] = value
    for place, value in head_flips:
        data[place % len(data)] = value
    if keep < 0.5:
        data = data[: int(len(data) * keep * 2)]
    limits = Limits(max_pixels=1 << 22)
    try:
        picture = open_picture(bytes(data), limits)
        header = picture.header
        assert picture.luma_full.shape == (header.height, header.width)
        assert picture.small.shape[2] == 3
        assert picture.rgb(max_side=16).max() <= 255
    except PixelError:
        return
