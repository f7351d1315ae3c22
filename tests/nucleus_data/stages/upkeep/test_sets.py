"""Training sets of which samples are taken down."""

import tarfile
from dataclasses import asdict

import pyarrow as pa
import pytest

from nucleus_data.errors import RequestError
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.dedup.settings import DedupSettings
from nucleus_data.stages.upkeep.request import Request
from nucleus_data.stages.upkeep.sets import CARD, next_path
from nucleus_data.stages.upkeep.takedown import forecast, take_down
from tests.support import curated
from tests.support.ingested import tree
from tests.support.upkept import PATH, corpus_with_set, ident, ids_of


def taken(corpus, *places, said=None):
    run = curated.run(corpus.uri, "takedown", said=said)
    done = take_down(run, Request.of([ident(*place) for place in places]), DedupSettings())
    assert run.failures == []
    return done


def members(folder, path):
    with tarfile.open(folder.url(path)) as tar:
        return [(m.name, m.offset_data, tar.extractfile(m).read()) for m in tar]


@pytest.mark.slow
def test_only_the_tars_that_hold_them_are_rewritten(tmp_path):
    corpus, folder = corpus_with_set(tmp_path, shards=2, images=5, a_tar=4)
    before, manifest = tree(folder.url()), folder.manifest()
    old = {name: data for tar in manifest for name, _, data in members(folder, tar.path)}
    said = []
    folder.store.remove(folder.name("manifest.parquet"))
    folder.publish([asdict(entry) for entry in manifest], {"format": "jpeg"})
    assert taken(corpus, (0, 1), (1, 4), said=said)
    assert folder.about() == {"format": "jpeg"}
    assert any("2 tars of sets" in line for line in said)
    after = folder.manifest()
    assert [tar.path for tar in after] == [
        "64/1x1/000000-1.tar",
        "64/1x1/000001.tar",
        "64/1x1/000002-1.tar",
    ]
    assert [tar.samples for tar in after] == [3, 4, 1]
    assert after[1] == manifest[1]
    gone = {ident(0, 1), ident(1, 4)}
    assert not gone & set(ids_of(folder))
    assert len(ids_of(folder)) == 8
    for tar in after:
        index = folder.index(tar.path).to_pylist()
        found = members(folder, tar.path)
        assert [(r["offset"], r["json_offset"]) for r in index] == list(
            zip([o for _, o, _ in found[::2]], [o for _, o, _ in found[1::2]], strict=True)
        )
        assert all(old[name] == data for name, _, data in found)
        for one in (folder.edition().captions(tar.path), folder.columns().values(tar.path)):
            assert one["id"].to_pylist() == [r["id"] for r in index]
    kept = tree(folder.url())
    changed = {n for n in before | kept if before.get(n) != kept.get(n)}
    assert not [n for n in changed if "000001" in n]
    assert not [n for n in kept if "000000.tar" in n or "000002.tar" in n]
    assert not [
        n for n, data in kept.items() for i in gone if i.encode() in data and "left" not in n
    ]


@pytest.mark.slow
def test_a_dry_run_counts_samples_and_tars(tmp_path):
    corpus, folder = corpus_with_set(tmp_path)
    before = {n: d for n, d in tree(corpus.uri).items() if not n.startswith("runs")}
    run = curated.run(corpus.uri, "takedown", dry_run=True)
    lines = list(forecast(run, Request.of([ident(0, 1), ident(0, 2)]), DedupSettings()))
    assert f"  {folder.path}: 2 samples, in 1 of 3 tars" in lines
    (line,) = forecast(run, Request.of(["0" * 32]), DedupSettings())
    assert "no record of this corpus matches" in line
    assert {n: d for n, d in tree(corpus.uri).items() if not n.startswith("runs")} == before


def test_editions_and_left_out_say_so(tmp_path):
    corpus, folder = corpus_with_set(tmp_path)
    before = folder.edition()
    assert (before.samples, before.count, before.without) == (10, 16, 2)
    assert taken(corpus, (0, 0), (0, 4))
    after = SetFolder(corpus.store, PATH).edition()
    assert (after.samples, after.count, after.without) == (8, 14, 1)
    assert after.mix == {"web": 7, "synthesized:short": 7}
    lost = sorted([ident(0, 0), ident(0, 4)])
    rows = [{"id": i, "resolution": 64, "reason": "taken_down"} for i in lost]
    assert folder.left_out().to_pylist() == rows


@pytest.mark.slow
def test_a_tar_of_which_nothing_is_left_is_gone(tmp_path):
    corpus, folder = corpus_with_set(tmp_path, shards=1, images=5)
    assert taken(corpus, (0, 4))
    assert [tar.path for tar in folder.manifest()] == ["64/1x1/000000.tar"]
    assert not [name for name in tree(folder.url()) if "000001" in name]
    # And again, of the other one.
    assert taken(corpus, (0, 0))
    assert taken(corpus, (0, 1))
    assert [tar.path for tar in folder.manifest()] == ["64/1x1/000000-2.tar"]
    assert ids_of(folder) == [ident(0, 2), ident(0, 3)]


@pytest.mark.slow
def test_a_takedown_that_is_done_finds_nothing_again(tmp_path):
    corpus, _ = corpus_with_set(tmp_path)
    assert taken(corpus, (0, 0))
    before = {n: d for n, d in tree(corpus.uri).items() if not n.startswith("runs")}
    said = []
    assert taken(corpus, (0, 0), said=said)
    assert any("no record of this corpus matches" in line for line in said)
    assert {n: d for n, d in tree(corpus.uri).items() if not n.startswith("runs")} == before


def test_sets_of_the_older_layout_are_told(tmp_path):
    from nucleus_data.sets.beside import encode, read

    corpus, folder = corpus_with_set(tmp_path)
    table = read(corpus.store, folder.name("manifest.parquet")).drop_columns(["index_sha256"])
    corpus.store.put(folder.name("manifest.parquet"), encode(table))
    before = tree(corpus.uri)
    with pytest.raises(RequestError, match="older layout"):
        taken(corpus, (0, 0))
    assert {n for n in tree(corpus.uri) if not n.startswith("runs")} == {
        n for n in before if not n.startswith("runs")
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [("64/1x1/000012.tar", "64/1x1/000012-1.tar"), ("a/000012-9.tar", "a/000012-10.tar")],
)
def test_the_name_of_what_stands_for_a_tar(old, new):
    assert next_path(old) == new


@pytest.mark.slow
def test_encoded_files_of_these_tars_go_too(tmp_path):
    corpus, folder = corpus_with_set(tmp_path)
    for name in ("64/1x1/000000.safetensors", "64/1x1/000001.safetensors", "texts/encoded.json"):
        corpus.store.create(folder.name(f"encoded/x/{name}"), b"latents")
    for name in ("README.md", "croissant.json"):
        corpus.store.create(folder.name(name), b"10 samples")
    assert taken(corpus, (0, 0))
    assert corpus.store.list(folder.name("encoded/x/64/1x1")) == ["000001.safetensors"]
    assert not corpus.store.find(folder.name("encoded/x/texts"))
    assert not [name for name in corpus.store.list(folder.path) if name in CARD]


@pytest.mark.slow
def test_a_set_that_is_not_finished_is_removed(tmp_path):
    from nucleus_data.sets.planned import PLAN_SCHEMA, PlannedTar, encode_plan

    corpus, folder = corpus_with_set(tmp_path)
    for name, place in (("one", (0, 0)), ("other", (1, 0))):
        rows = pa.Table.from_pylist([{"id": ident(*place)}], PLAN_SCHEMA)
        tar = PlannedTar(0, "64/1x1/000000.tar", 64, "1x1", 64, 64, rows)
        corpus.store.create(f"sets/{name}/0/_plan/kept/000000.parquet", encode_plan(tar))
        corpus.store.create(f"sets/{name}/0/64/1x1/000000.tar", b"half")
    assert taken(corpus, (0, 0))
    assert not [name for name in tree(corpus.uri) if name.startswith("sets/one")]
    assert [name for name in tree(corpus.uri) if name.startswith("sets/other")]
    assert folder.published
