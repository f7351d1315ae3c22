"""What the tests of ingest share: sources of tiny pictures, and what came of them."""

import io
import socket
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from nucleus_data.corpus.images import read_images
from nucleus_data.stages.ingest.build import build_shard
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings


def tiny(number=0, suffix="png"):
    """A picture of 4x4 pixels, whose colour is the number."""
    data = io.BytesIO()
    Image.new("RGB", (4, 4), (number % 256, number // 256, 7)).save(data, suffix)
    return data.getvalue()


def put(folder, files):
    """Writes files (name -> bytes or text) below a folder; returns the folder."""
    for name, data in files.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder


def tar_bytes(members, **options):
    """A tar of (name, content) pairs."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", **options) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


def put_tar(path, members):
    """Writes a tar of (name, content) pairs; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(members))
    return path


def ingest_counted(corpus, source, **more):
    """Ingests a source, in this process; returns the plan and what each shard counted."""
    plan = plan_ingest(corpus, IngestSettings(source=str(source), **more))
    counts = [build_shard(corpus, number) for number in plan.todo]
    return plan, counts


def ingest(corpus, source, **more):
    """Ingests a source, in this process; returns the plan."""
    return ingest_counted(corpus, source, **more)[0]


def rows(corpus):
    """All records, by shard and row."""
    tables = [corpus.records.read(number) for number in corpus.shards()]
    return [row for table in tables for row in table.to_pylist()]


def images(corpus, number=0):
    """The bytes of a shard's images."""
    records = corpus.records.read(number)
    records = records.filter(records["error"].is_null())
    footer = next(iter(corpus.records.metadata(number)))
    return list(read_images(corpus.store, number, records, int(footer["tar_size"])))


def tree(root):
    """Relative path -> content of every file below a folder."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in Path(root).rglob("*")
        if path.is_file()
    }


def url_list(path, urls, **columns):
    """Writes a URL list as Parquet; returns its path."""
    pq.write_table(pa.table({"URL": urls, **columns}), path)
    return str(path)


def resolver(**hosts):
    """A `socket.getaddrinfo` that knows these hosts: name -> addresses."""

    def resolve(host, port, *_, **__):
        if host not in hosts:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (at, 0)) for at in hosts[host]]

    return resolve
