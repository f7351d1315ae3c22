from nucleus_data.stages.ingest.listing.formats import extension, member_extension, sniffed
from tests.support.ingested import tiny


def test_formats():
    for suffix, pillow in (("png", "png"), ("jpg", "jpeg"), ("webp", "webp"), ("gif", "gif")):
        assert sniffed(tiny(1, pillow)) == suffix
    assert sniffed(tiny(1, "tiff")) == "tiff"
    assert sniffed(tiny(1, "avif")) == "avif"
    assert sniffed(b"") is None
    # What the decoder knows has its name in an image shard, too.
    assert sniffed(b"II+\0\x08\0\0\0") == sniffed(b"MM\0+\0\x08\0\0") == "tiff"
    assert sniffed(b"\0\0\0\x18ftyphevc") == "heic"
    assert sniffed(b"\0\0\0\x18ftypmsf1") == "heif"
    assert member_extension(b"?", None) == member_extension(b"?", "../x") == "bin"
    assert extension("a/b.c/D.JPeG") == "jpeg"
    assert extension("a/.png") is extension("noext") is extension("a.b c") is None
