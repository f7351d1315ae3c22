import io

import pytest

from nucleus_data.stages.ingest.http import spool as module
from nucleus_data.stages.ingest.http.outcome import Download
from nucleus_data.stages.ingest.http.spool import BODIES, JOURNAL, Spool

FAILED = Download(None, "http_404", "404 Not Found", False, "http://h/x")


def filled(folder):
    with Spool(folder, "work") as spool:
        spool.keep(3, Download(None), b"three")
        spool.keep(0, FAILED)
        assert spool.keep(1, Download(None, final_url="http://h/1"), io.BytesIO(b"one")) == 3


def test_what_is_kept_is_read_back_by_the_next_process(tmp_path):
    filled(tmp_path)
    with Spool(tmp_path, "work") as spool:
        assert [place in spool for place in range(4)] == [True, True, False, True]
        assert (spool.read(3), spool.read(0)) == (Download(b"three"), FAILED)
        assert spool.read(1) == Download(b"one", final_url="http://h/1")
        spool.keep(2, Download(None), b"two")
        spool.sync()
    with Spool(tmp_path, "work") as spool:
        assert len(spool) == 4
        assert [spool.read(place).data for place in (1, 2, 3)] == [b"one", b"two", b"three"]


def test_at_whatever_byte_it_was_cut_what_was_whole_counts(tmp_path):
    filled(tmp_path)
    journal, bodies = (tmp_path / JOURNAL).read_bytes(), (tmp_path / BODIES).read_bytes()
    lines = journal.splitlines(keepends=True)
    for cut in range(len(journal) + 1):
        (tmp_path / JOURNAL).write_bytes(journal[:cut])
        (tmp_path / BODIES).write_bytes(bodies + b"half of what came next")
        whole = sum(len(b"".join(lines[: n + 2])) <= cut for n in range(3))
        with Spool(tmp_path, "work") as spool:
            assert len(spool) == whole
            spool.keep(9, Download(None), b"nine")
            spool.flush()
            assert spool.read(9).data == b"nine"
            if whole:
                assert spool.read(3).data == b"three"


def test_a_line_without_its_body_does_not_count(tmp_path):
    filled(tmp_path)
    (tmp_path / BODIES).write_bytes(b"thr")
    with Spool(tmp_path, "work") as spool:
        assert len(spool) == 0


@pytest.mark.parametrize("other", ["work", "boot"])
def test_other_work_or_another_start_of_the_machine_begins_anew(tmp_path, monkeypatch, other):
    filled(tmp_path)
    if other == "boot":
        monkeypatch.setattr(module, "_boot", lambda: "another")
    with Spool(tmp_path, "work" if other == "boot" else "other") as spool:
        assert len(spool) == 0
    assert (tmp_path / BODIES).stat().st_size == 0
