"""Killed at any write, each file is the old one or the new one, and the end is the same."""

import contextlib
import shutil
from pathlib import Path

import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.store import Store
from nucleus_data.hashing import record_id
from nucleus_data.stages.dedup.settings import DedupSettings
from nucleus_data.stages.upkeep.request import Request
from nucleus_data.stages.upkeep.takedown import take_down
from nucleus_data.stages.upkeep.verify import find_set, verify
from tests.support import curated
from tests.support.ingested import ingest, put, tiny, tree
from tests.support.quick import quick
from tests.support.upkept import corpus_with_set, ident

WRITES = ("put", "put_file", "create", "create_file", "remove")


class Killed(BaseException):
    """What a killed process never gets to handle."""


@pytest.fixture
def killing(monkeypatch):
    """Kills this process's work before its nth write, or behind it."""
    left: list[int] = []

    def wrapped(write):
        def call(store, name, *arguments):
            if "runs/" in name or not left:
                return write(store, name, *arguments)
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            done = write(store, name, *arguments)
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return done

        return call

    for name in WRITES:
        monkeypatch.setattr(Store, name, wrapped(getattr(Store, name)))

    def kill(at):
        left[:] = [at]

    return kill


def files(root):
    return {name: data for name, data in tree(root).items() if not name.startswith("runs/")}


def corpus_of(folder):
    put(folder / "p", {f"{n}.png": tiny(n) for n in range(4)})
    put(folder / "p", {f"{n}.txt": f"words {n}" for n in range(4)})
    corpus, _ = corpus_with_set(folder)
    ingest(corpus, folder / "p", images_per_shard=2)
    curated.inspect(corpus, "inspect.signals=[file, hash]")
    return corpus


def take(uri):
    corpus = Corpus(str(uri))
    request = Request.of([ident(0, 1), record_id("p", "1.png")], sha256=["0" * 64])
    run = curated.run(corpus.uri, "takedown")
    done = take_down(run, request, DedupSettings())
    assert run.failures == []
    return done


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A corpus; its files, and those of it after a takedown that nobody killed."""
    folder = tmp_path_factory.mktemp("kills")
    corpus = corpus_of(folder)
    before = files(corpus.uri)
    reference = shutil.copytree(corpus.uri, folder / "reference")
    assert take(reference)
    return corpus.uri, before, files(reference)


# There are 23 writes; behind a write it is as before the next one.
@pytest.mark.parametrize("at", quick(range(1, 49, 2), [35]))
def test_killed_at_any_write(prepared, tmp_path, killing, at):
    corpus, before, after = prepared
    uri = shutil.copytree(corpus, tmp_path / "killed")
    killing(at)
    with contextlib.suppress(Killed):
        take(uri)
    killing(10**6)
    for name, data in files(uri).items():
        assert data in (before.get(name), after.get(name)), name
    # Between any two writes, the set is whole: the old one or the new one.
    run = curated.run(str(uri), "verify")
    folder = find_set(run, "train")
    kinds = {fault.kind for fault in verify(run, folder, {}, None, decode=False)}
    assert kinds <= {"blocked", "captions"}
    run.corpus.store.fs.rm(run.corpus.store.path("verify"), recursive=True)
    assert take(uri)
    assert files(uri) == after


@pytest.mark.parametrize("at", quick(range(1, 21), [5]))
def test_killed_while_verifying(prepared, tmp_path, killing, at):
    uri = str(shutil.copytree(prepared[0], tmp_path / "killed"))
    file = next(Path(uri).glob("sets/*/*/64/*/000001.tar"))
    data = bytearray(file.read_bytes())
    data[600] ^= 1
    file.write_bytes(data)
    before = files(uri)

    def verified():
        run = curated.run(uri, "verify")
        return verify(run, find_set(run, "train"), {}, None)

    killing(at)
    with contextlib.suppress(Killed):
        verified()
    killing(10**6)
    (fault,) = verified()
    assert (fault.kind, fault.sample) == ("picture_changed", ident(0, 4))
    assert files(uri) == before
