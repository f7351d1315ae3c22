from tests.support import curated
from tests.support.ingested import put, tiny


def ingest(tmp_path, source, *overrides):
    """Runs the stage as the command does; returns what it said."""
    said = []
    run = curated.run(
        str(tmp_path / "c"), "ingest", f"ingest.source={source}", *overrides, said=said, create=True
    )
    run.do("ingest")
    return said


def test_captions_that_are_not_taken_and_what_changed_are_said(tmp_path):
    source = put(tmp_path / "p", {"a.png": tiny(1), "b.png": tiny(2), "b.txt": "b", "z.txt": "z"})
    put(source, {"a.txt": "ein Kätzchen".encode("latin-1")})
    said = ingest(tmp_path, source)
    assert "of these, 1 caption files belong to no picture: .txt 1" in said
    assert any("1 captions could not be ingested (caption_encoding 1)" in s for s in said)
    put(source, {"a.png": tiny(3)})
    (source / "b.png").unlink()
    said = ingest(tmp_path, source)
    assert any("1 pictures, 1 rows removed" in line for line in said)
