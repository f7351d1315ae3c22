import pytest

from nucleus_data.corpus.marked import once, remove_files
from nucleus_data.corpus.store import Store


def test_work_is_done_once_and_its_counts_stay(tmp_path):
    store, done = Store(str(tmp_path)), []

    def work():
        done.append(1)
        return {"rows": 3}

    assert [once(store, "done/a.json", work) for _ in range(2)] == [{"rows": 3}] * 2
    assert done == [1]


def test_work_that_died_is_done_again(tmp_path):
    store = Store(str(tmp_path))

    def dies():
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        once(store, "done/a.json", dies)
    assert once(store, "done/a.json", lambda: {"n": 1}) == {"n": 1}


def test_folders_are_emptied_or_removed(tmp_path):
    store = Store(str(tmp_path))
    names = [f"work/edges/{n}" for n in range(5)]
    for name in [*names, "work/deep/er/x"]:
        store.create(name, b"x")
    remove_files(store, "work/edges")
    assert store.find("work") == ["work/deep/er/x"]
    for _ in range(2):  # the second time, it is not there
        store.remove_folder("work")
        assert store.find("work") == []


def test_a_folder_that_others_remove_too_is_removed(tmp_path, monkeypatch):
    store = Store(str(tmp_path))
    for name in "abc":
        store.create(f"work/{name}", b"x")
    real, calls = store.fs.rm, []

    def interrupted(path, recursive):
        calls.append(path)
        if len(calls) < 3:  # as if another process had removed a file meanwhile
            raise FileNotFoundError(path)
        real(path, recursive=recursive)

    monkeypatch.setattr(store.fs, "rm", interrupted)
    store.remove_folder("work")
    assert store.find("work") == []
    assert len(calls) == 3
