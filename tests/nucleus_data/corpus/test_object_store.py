"""The whole line on `s3://`, against a local S3 server (moto's).

It is byte-equal to the one on local paths.
"""

import importlib.util
from pathlib import Path

import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.store import Store
from tests.support.captions.unchecked import OVERRIDE
from tests.support.commands import nucleus, tree
from tests.support.worlds import write_pictures

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("s3fs") is None, reason="s3fs is not installed"
)

SMALL = (
    "ingest.images_per_shard=15",
    "quick_train.preset=debug",
    "quick_train.steps=2",
    "quick_train.sample_steps=1",
    "quick_train.threads=1",
    "caption.engine=transformers",  # starts in a tenth of the time
    "caption.variants.short.max_tokens=12",
    "caption.variants.long.max_tokens=16",
    OVERRIDE,  # they are cut: no check may refuse them
)


@pytest.fixture(scope="module")
def endpoint():
    """A local S3 server with one bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket="bucket")
    yield url
    server.stop()


def options(endpoint: str) -> dict:
    return {"key": "test", "secret": "test", "client_kwargs": {"endpoint_url": endpoint}}


@pytest.mark.slow
def test_create_if_absent_on_s3(endpoint):
    corpus = Corpus("s3://bucket/one", options(endpoint), create=True)
    assert corpus.several_writers
    store = corpus.store
    assert store.create("a/b", b"one")
    assert store.create("a/b", b"one")
    assert not store.create("a/b", b"two")
    assert store.read("a/b") == b"one"
    assert store.read_range("a/b", 1, 2) == b"ne"
    assert store.list("a") == ["b"]
    assert store.size("a/b") == 3
    store.remove("a/b")
    assert store.list("a") == []


@pytest.mark.slow
def test_large_files_are_created_once(endpoint, tmp_path):
    store = Store("s3://bucket/large", options(endpoint))
    file = tmp_path / "file"
    file.write_bytes(b"x" * (60 << 20))
    assert store.create_file("tar", file)
    file.write_bytes(b"y" * 10)
    assert not store.create_file("tar", file)
    assert store.size("tar") == 60 << 20


def test_a_store_that_overwrites_is_found_out(monkeypatch, tmp_path):
    monkeypatch.setattr(Store, "create", lambda self, name, data: self.put(name, data) or True)
    assert not Corpus(str(tmp_path / "c"), create=True).several_writers


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_line_is_byte_equal_to_the_local_one(endpoint, tmp_path):
    write_pictures(tmp_path / "pictures", 45, seed=3)
    log = tmp_path / "log.txt"
    source = f"ingest.source={tmp_path}/pictures"
    where = (
        "storage_options.key=test",
        "storage_options.secret=test",
        f"storage_options.client_kwargs.endpoint_url={endpoint}",
    )
    local = tmp_path / "local"
    nucleus("all", f"corpus={local}", source, *SMALL, log=log)
    said = nucleus("all", "corpus=s3://bucket/line", source, *where, *SMALL, log=log)
    assert "report: s3://bucket/line/runs/" in said
    remote = tmp_path / "remote"
    download(Store("s3://bucket/line", options(endpoint)), remote)
    for folder in ("claims", "images", "tables", "sets"):
        ours, theirs = tree(remote / folder), tree(local / folder)
        assert ours.keys() == theirs.keys()
        different = [name for name in ours if ours[name] != theirs[name]]
        assert different == [], folder
    metrics = [next(root.glob("runs/*/quick_train/metrics.jsonl")) for root in (local, remote)]
    assert metrics[0].read_bytes() == metrics[1].read_bytes()


def download(store: Store, folder: Path) -> None:
    for path in store.fs.find(store.root):
        target = folder / path.removeprefix(f"{store.root}/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(store.fs.cat_file(path))


@pytest.mark.slow
def test_a_lost_race_on_s3_loses_no_row(endpoint):
    import pyarrow as pa

    from nucleus_data.corpus.tables import Table, table_schema

    schema = table_schema(pa.schema([("v", pa.int32())]))
    store = Store("s3://bucket/race", options(endpoint))

    def rows(*numbers):
        return pa.Table.from_pylist(
            [{"shard": 0, "row": n, "id": f"{n:032x}", "v": n} for n in numbers], schema
        )

    one, other = (
        Table(store, "t", "h"),
        Table(Store("s3://bucket/race", options(endpoint)), "t", "h"),
    )
    assert one.append(0, rows(0, 1), {}) == 2
    assert other.append(0, rows(1, 2), {}) == 1
    assert one.read(0).column("row").to_pylist() == [0, 1, 2]


@pytest.mark.slow
def test_upkeep_on_s3_is_byte_equal_to_upkeep_on_local_paths(endpoint, tmp_path):
    from nucleus_data.stages.dedup.settings import DedupSettings
    from nucleus_data.stages.upkeep import gc
    from nucleus_data.stages.upkeep.request import Request
    from nucleus_data.stages.upkeep.takedown import take_down
    from nucleus_data.stages.upkeep.verify import find_set, verify
    from tests.support import curated
    from tests.support.ingested import tree as files
    from tests.support.upkept import corpus_with_set, ident

    corpus, _ = corpus_with_set(tmp_path)
    rows = corpus.records.read(0, ["shard", "row", "id"])
    corpus.at("inspect.tone", "0" * 16).append(0, rows, {})  # nobody's
    far = Store("s3://bucket/upkeep", options(endpoint))
    for name in files(corpus.uri):
        far.put(name, corpus.store.read(name))
    asked = ("corpus=s3://bucket/upkeep", f"storage_options={options(endpoint)}")
    for uri, overrides in ((corpus.uri, ()), (asked[0].partition("=")[2], asked[1:])):
        run = curated.run(uri, "takedown", *overrides)
        done = take_down(run, Request.of([ident(0, 1), ident(1, 4)]), DedupSettings())
        assert done, run.failures
        assert verify(run, find_set(run, None), {}, None) == []
        gc.remove(run.corpus.store, gc.garbage(run, gc.Counted()))
    here = {n: d for n, d in files(corpus.uri).items() if not n.startswith("runs")}
    there = {name: far.read(name) for name in far.find("") if not name.startswith("runs")}
    assert there == here
    assert not [name for name in here if "inspect.tone" in name]
