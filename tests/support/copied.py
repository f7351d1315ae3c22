"""Pictures with detail, and worse copies of them."""

import io

from PIL import Image

from nucleus_data.pixels import Limits, open_picture
from nucleus_data.stages.compare.views import share_of, view
from scripts.copies.originals import texture


def detailed(seed: int = 3, width: int = 480, height: int = 360) -> Image.Image:
    """A picture with a photograph's spectrum, colour, and edges."""
    return texture(seed, width, height)


def encoded(picture: Image.Image, form: str = "PNG", **options) -> bytes:
    """A picture as a file."""
    sink = io.BytesIO()
    picture.save(sink, form, **options)
    return sink.getvalue()


def views_of(*files: bytes):
    """Decoded files, with windows of the same share."""
    headers = [open_picture(data).header for data in files]
    share = share_of([(header.width, header.height) for header in headers])
    return [view(data, share, Limits()) for data in files]
