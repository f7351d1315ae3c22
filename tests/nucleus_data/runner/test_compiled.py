import os
import shutil
from pathlib import Path

import pytest

from nucleus_data.runner.compiled import MESSAGE, TAG, compiles
from nucleus_data.stages.dedup import stage as dedup
from nucleus_data.stages.inspect import stage as inspect
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "package/kernels.py"
    file.parent.mkdir()
    file.write_text("@njit(nogil=True, cache=True)\ndef f(): ...\n")
    return file


def index(folder):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"kernels.f-2{TAG}.nbi"
    file.write_bytes(b"")
    return file


def test_a_module_without_an_index_is_compiled(module, tmp_path):
    assert compiles([module])
    plain = module.with_name("plain.py")
    plain.write_text("def f(): ...\n")
    assert not compiles([plain])
    found = index(module.parent / "__pycache__")
    assert not compiles([module])
    os.utime(found, (1, 1))  # of the module as it was before
    assert compiles([module])


def test_the_user_s_cache_and_a_given_folder_are_looked_at(module, tmp_path, monkeypatch):
    index(tmp_path / "cache/numba/package_0123")
    assert not compiles([module])
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "given"))
    assert compiles([module])
    index(tmp_path / "given/package_0123")
    assert not compiles([module])


def test_who_inspects_and_compares_first_is_told_once(tmp_path, monkeypatch):
    corpus = small_corpus(tmp_path / "c", shards=0)
    write_shard(corpus, 0, {"a.png": picture(1), "b.png": picture(2)})
    said = []
    run = curated.run(corpus.uri, "curate", said=said)
    for module, name in ((inspect, "PIXELS"), (dedup, "KERNELS")):
        copied = tmp_path / f"{name}.py"
        shutil.copy(getattr(module, name), copied)
        monkeypatch.setattr(module, name, copied)
    run.do("inspect", "dedup")
    told = [line for line in said if MESSAGE in line]
    assert told == [f"inspect: {MESSAGE}", f"dedup: {MESSAGE}"]
    assert said[0] == told[0]
    said.clear()
    run.do("dedup")
    assert MESSAGE not in "\n".join(said)


def test_what_is_looked_for_is_there():
    for file in (inspect.PIXELS, dedup.KERNELS, *inspect_sources()):
        assert b"cache=True" in Path(file).read_bytes(), file


def inspect_sources():
    return [inspect.SIGNALS / name for name in inspect.COMPILED.values()]
