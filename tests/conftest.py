"""Fixtures that several test modules share."""

import hashlib
import io
import logging
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
from xdist.scheduler import LoadScopeScheduling

from nucleus_data.corpus import Corpus
from nucleus_data.hashing import record_id

os.environ.setdefault("OMP_NUM_THREADS", "1")

ON_RAY = (
    "tests/scripts/test_bench_runner.py",
    "tests/nucleus_data/commands/test_cli.py",
    "tests/nucleus_data/runner/test_loop.py",
)


class RayTogether(LoadScopeScheduling):
    """Sends all tests on Ray to one of the parallel processes, so that Ray is started once.

    (`--dist loadgroup` would do it by a mark, but pytest-xdist 3.8 writes the group into a field
    that pytest 9.2 no longer reads.)
    """

    def _split_scope(self, nodeid: str) -> str:
        return "ray" if nodeid.startswith(ON_RAY) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return RayTogether(config, log)


@pytest.fixture(scope="session")
def ray_cluster():
    """A local Ray with two workers, for all tests of a session that need one."""
    from nucleus_data.runner.cluster import RaySettings, connected

    with connected(RaySettings(num_cpus=2)):
        logging.getLogger("ray").setLevel(logging.ERROR)
        yield


def write_shard(corpus: Corpus, shard: int, images: dict[str, bytes], captions=None) -> None:
    """Puts a shard of images (key -> bytes) into a corpus, as ingest would."""
    stream = io.BytesIO()
    rows = []
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for row, (key, data) in enumerate(images.items()):
            ident = record_id("test", key)
            name = f"{ident}.{key.rsplit('.', 1)[-1]}"
            info = tarfile.TarInfo(name)
            info.size = len(data)
            offset = stream.tell() + 512
            tar.addfile(info, io.BytesIO(data))
            rows.append(
                {
                    "shard": shard,
                    "row": row,
                    "id": ident,
                    "source": "test",
                    "key": key,
                    "file": name,
                    "offset": offset,
                    "size": len(data),
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "error": None,
                    "detail": None,
                    "retryable": False,
                    "source.caption": (captions or {}).get(key),
                }
            )
    data = stream.getvalue()
    corpus.store.create(f"images/{shard:06d}.tar", data)
    footer = {"tar_size": str(len(data)), "tar_sha256": hashlib.sha256(data).hexdigest()}
    schema = pa.schema(
        [
            ("shard", pa.int32()),
            ("row", pa.int32()),
            ("id", pa.string()),
            ("source", pa.string()),
            ("key", pa.string()),
            ("file", pa.string()),
            ("offset", pa.int64()),
            ("size", pa.int64()),
            ("sha256", pa.string()),
            ("error", pa.string()),
            ("detail", pa.string()),
            ("retryable", pa.bool_()),
            ("source.caption", pa.string()),
        ]
    )
    corpus.records.append(shard, pa.Table.from_pylist(rows, schema), footer)


def small_corpus(folder: Path, shards: int = 3, images: int = 5) -> Corpus:
    """A corpus whose images are a few distinct bytes each (for stages that do not decode)."""
    corpus = Corpus(str(folder), create=True)
    for shard in range(shards):
        write_shard(
            corpus, shard, {f"{shard}/{i}.bin": bytes([shard, i]) * 40 for i in range(images)}
        )
    return corpus
