import os
import socket
import subprocess
import sys
import threading

import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.stages.ingest.build import build_shard
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from nucleus_data.stages.ingest.work_folder import drop_kept, kept_folder, remove_empty, work_folder


@pytest.mark.slow
def test_work_folders_come_and_go_at_once(tmp_path):
    corpus = Corpus(str(tmp_path / "c"), create=True)
    wrong = []

    def work(number):
        for _ in range(200):
            try:
                with work_folder(corpus, number) as folder:
                    (folder / "x").write_bytes(b"x")
            except OSError as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert list((tmp_path / "c/incoming").iterdir()) == []
    remove_empty(corpus)
    assert not (tmp_path / "c/incoming").exists()


def test_what_a_killed_process_left_is_removed(corpus, tmp_path, monkeypatch):
    (tmp_path / "l.txt").write_text("ftp://h/a.png\n")
    plan_ingest(corpus, IngestSettings(source=str(tmp_path / "l.txt")))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = socket.gethostname()
    incoming = tmp_path / "corpus" / "incoming"
    left = incoming / f"nucleus-000000.{host}.{dead.pid}.x"
    alive = incoming / f"nucleus-000000.{host}.{os.getpid()}.y"
    for folder in (left, alive):
        folder.mkdir(parents=True)
        (folder / "big").write_bytes(b"x")
    build_shard(corpus, 0)
    assert not left.exists()
    assert alive.exists()


def test_a_kept_folder_outlives_who_had_it_and_is_one_process_s(corpus, tmp_path):
    other = tmp_path / "other"
    with kept_folder(corpus, 3, other) as folder:
        (folder / "x").write_text("x")
        drop_kept(corpus, 3)  # another process: it leaves the folder alone
        with kept_folder(corpus, 3, other) as second:
            assert second == other
    with kept_folder(corpus, 3, other) as again:
        assert (again, (again / "x").read_text()) == (folder, "x")
    drop_kept(corpus, 3)
    drop_kept(corpus, 3)
    remove_empty(corpus)
    assert not folder.parent.exists()


def test_kept_folders_of_other_stores_do_not_meet(tmp_path):
    corpora = [Corpus(f"memory://{name}", create=True) for name in ("one", "two")]
    found = set()
    for corpus in corpora:
        with kept_folder(corpus, 0, tmp_path) as folder:
            found.add(folder)
        drop_kept(corpus, 0)
    assert len(found) == 2
    assert not any(folder.exists() for folder in found)
