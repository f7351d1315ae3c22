import pytest

from nucleus_data.pixels import open_picture
from tests.support.encoded import encode, solid


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_shows_its_first_frame(file_format):
    frames = [solid(colour, size=(32, 24)) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    picture = open_picture(data)
    assert picture.header.frames == 3
    assert picture.small[10, 10].tolist() == [255, 0, 0]
