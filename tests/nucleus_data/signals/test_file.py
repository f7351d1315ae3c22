from nucleus_data.pixels import open_picture
from nucleus_data.signals import file
from tests.support.measured import encode, scene


def test_file():
    data = encode(scene(100, 70), "PNG")
    values = file.group.measure(open_picture(data), "some.jpg")
    assert values == {
        "format": "png",
        "declared": "jpeg",
        "mislabelled": True,
        "width": 100,
        "height": 70,
        "mode": "RGB",
        "frames": 1,
        "orientation": 1,
        "has_icc": False,
        "has_alpha": False,
        "truncated": False,
        "bytes": len(data),
        "bytes_per_pixel": len(data) / 7000,
        "aspect": 100 / 70,
    }
    cut = file.group.measure(open_picture(data[:-12]), "some.png")
    assert cut == values | {
        "declared": "png",
        "mislabelled": False,
        "truncated": True,
        "bytes": len(data) - 12,
        "bytes_per_pixel": (len(data) - 12) / 7000,
    }
    honest = file.group.measure(open_picture(data), "some.png")
    assert (honest["declared"], honest["mislabelled"]) == ("png", False)
    unnamed = file.group.measure(open_picture(data), None)
    assert (unnamed["declared"], unnamed["mislabelled"]) == (None, False)
