from nucleus_data.stages.ingest.listing.formats import extension, member_extension, sniffed
from tests.support.ingested import tiny


def test_formats():
    for suffix, pillow in (("png", "png"), ("jpg", "jpeg"), ("webp", "webp"), ("gif", "gif")):
        assert sniffed(tiny(1, pillow)) == suffix
    assert sniffed(tiny(1, "tiff")) == "tiff"
    assert sniffed(tiny(1, "avif")) == "avif"
    assert sniffed(b"") is None
    assert member_extension(b"?", None) == member_extension(b"?", "../x") == "bin"
    assert extension("a/b.c/D.JPeG") == "jpeg"
    assert extension("a/.png") is extension("noext") is extension("a.b c") is None
