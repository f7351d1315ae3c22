import errno
import os
import socket
import threading
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from nucleus_data.corpus import store as module
from nucleus_data.corpus.store import Store, with_retries
from nucleus_data.errors import DiskFullError, RequestError


def test_create_is_whole_and_once(tmp_path):
    store = Store(str(tmp_path))
    assert store.create("a/b", b"one")
    assert store.create("a/b", b"one")
    assert not store.create("a/b", b"two")
    assert store.read("a/b") == b"one"
    assert store.list("a") == ["b"]
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]


def test_one_of_many_writers_wins(tmp_path):
    store = Store(str(tmp_path))
    won = []
    threads = [
        threading.Thread(target=lambda i=i: won.append(store.create("x", b"%d" % i)))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(won) == 1


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_synced", full)
    with pytest.raises(DiskFullError, match="the disk is full: a/b was not written"):
        Store(str(tmp_path)).create("a/b", b"x")


def test_leftovers_of_dead_processes_are_swept(tmp_path):
    store = Store(str(tmp_path))
    store.create("f/x", b"")
    dead = tmp_path / "f" / f".y.{socket.gethostname()}.999999999.00000000.part"
    live = tmp_path / "f" / f".y.{socket.gethostname()}.{os.getpid()}.00000000.part"
    dead.write_bytes(b"")
    live.write_bytes(b"")
    assert store.list("f") == ["x"]
    assert store.sweep("f") == 1
    assert not dead.exists()
    assert live.exists()


def test_errors_that_may_pass_are_tried_again(monkeypatch):
    monkeypatch.setattr(module, "FIRST_DELAY_S", 0.0)
    calls = []

    def flaky():
        calls.append(1)
        if len(calls) < 3:
            raise OSError("connection reset")
        return "done"

    assert with_retries(flaky) == "done"
    calls.clear()

    def missing():
        calls.append(1)
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        with_retries(missing)
    assert len(calls) == 1


def test_an_unknown_protocol_is_refused():
    with pytest.raises(RequestError, match="cannot open 'nosuch://x'"):
        Store("nosuch://x")


class Remembering(MemoryFileSystem):
    """Answers from what was listed before, as object stores' file systems do."""

    protocol = "remembering"
    cachable = False

    def ls(self, path, detail=True, **options):
        path = self._strip_protocol(path)
        if path not in self.dircache:
            self.dircache[path] = super().ls(path, detail=True, **options)
        found = self.dircache[path]
        return found if detail else [entry["name"] for entry in found]

    def invalidate_cache(self, path=None):
        self.dircache.pop(self._strip_protocol(path), None)


def test_what_another_writer_added_is_listed():
    fsspec.register_implementation("remembering", Remembering, clobber=True)
    one, other = Store("remembering://lists"), Store("remembering://lists")
    one.fs.pipe_file(one.path("folder/a"), b"1")
    assert one.list("folder") == ["a"]
    other.fs.pipe_file(other.path("folder/b"), b"2")
    assert one.list("folder") == ["a", "b"]
    assert one.exists("folder/b")


def test_removing_is_tried_again(tmp_path, monkeypatch):
    store = Store(str(tmp_path))
    store.create("a", b"1")
    monkeypatch.setattr("nucleus_data.corpus.store.FIRST_DELAY_S", 0)
    remove, failures = store.fs.rm_file, [OSError("busy")]

    def busy(path):
        if failures:
            raise failures.pop()
        remove(path)

    monkeypatch.setattr(store.fs, "rm_file", busy)
    store.remove("a")
    store.remove("a")  # what is not there
    assert store.list("") == []


def test_the_root_of_the_file_system_is_no_working_directory(tmp_path, monkeypatch):
    (tmp_path / "here").write_text("x")
    monkeypatch.chdir(tmp_path)
    root = Store("/")
    assert "here" not in root.list("")
    assert set(root.list("")) >= {Path(tmp_path).parts[1]}
    folder = str(tmp_path).lstrip("/")
    assert root.find(folder) == [f"{folder}/here"]
    assert root.read(f"{folder}/here") == b"x"
