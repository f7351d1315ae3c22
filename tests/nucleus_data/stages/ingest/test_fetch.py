import pytest

from nucleus_data.errors import CorpusError
from nucleus_data.stages.ingest.build import build_shard
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from tests.support.ingested import put, put_tar, rows, tiny


def test_rows_that_fail_are_records(corpus, tmp_path):
    names = ("gone", "folder", "empty", "large", "link", "fine")
    source = put(tmp_path / "p", {f"{name}.png": tiny() for name in names})
    put(tmp_path, {"secret.png": tiny(9)})
    (source / "empty.png").write_bytes(b"")
    (source / "large.png").write_bytes(b"x" * 5000)
    plan = plan_ingest(corpus, IngestSettings(source=str(source), max_bytes=4000))
    (source / "gone.png").unlink()
    (source / "folder.png").unlink()
    (source / "folder.png").mkdir()
    (source / "link.png").unlink()
    (source / "link.png").symlink_to(tmp_path / "secret.png")
    counts = build_shard(corpus, plan.todo[0])
    found = {row["key"]: row for row in rows(corpus)}
    assert {key: row["error"] for key, row in found.items()} == {
        "empty.png": "empty_file",
        "fine.png": None,
        "folder.png": "unreadable",
        "gone.png": "missing_file",
        "large.png": "too_large",
        "link.png": "missing_file",
    }
    assert "leads out" in found["link.png"]["detail"]
    assert found["large.png"]["file"] is None
    assert found["fine.png"]["row"] == 1
    assert counts["failed"] == 5


def test_a_source_that_is_gone_fails_the_shard_not_its_rows(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": tiny()})
    plan = plan_ingest(corpus, IngestSettings(source=str(source)))
    source.rename(tmp_path / "moved")
    with pytest.raises(CorpusError, match="no longer exists"):
        build_shard(corpus, plan.todo[0])
    assert corpus.shards() == []


def test_a_tar_that_vanishes_fails_its_shard(corpus, tmp_path):
    path = put_tar(tmp_path / "t.tar", [("a.png", tiny())])
    plan = plan_ingest(corpus, IngestSettings(source=str(path)))
    data = path.read_bytes()
    path.unlink()
    with pytest.raises(CorpusError, match=r"t\.tar no longer exists"):
        build_shard(corpus, plan.todo[0])
    path.write_bytes(data[:515])
    with pytest.raises(CorpusError, match="shorter"):
        build_shard(corpus, plan.todo[0])
    path.write_bytes(data)
    assert build_shard(corpus, plan.todo[0])["images"] == 1
