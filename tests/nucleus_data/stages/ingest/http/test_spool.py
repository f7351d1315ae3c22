import io

import pytest

from nucleus_data.stages.ingest.http import spool as module
from nucleus_data.stages.ingest.http.outcome import Download
from nucleus_data.stages.ingest.http.spool import SPOOL, Spool

FAILED = Download(None, "http_404", "404 Not Found", False, "http://h/x")


def filled(folder):
    with Spool(folder, "work") as spool:
        spool.keep(3, Download(None), [b"th", b"ree"])
        spool.keep(0, FAILED)
        assert spool.keep(1, Download(None, final_url="http://h/1"), io.BytesIO(b"one")) == 3


def test_what_is_kept_is_read_back_by_the_next_process(tmp_path):
    filled(tmp_path)
    with Spool(tmp_path, "work") as spool:
        assert [place in spool for place in range(4)] == [True, True, False, True]
        assert (spool.read(3), spool.read(0)) == (Download(b"three"), FAILED)
        assert spool.read(1) == Download(b"one", final_url="http://h/1")
        spool.keep(2, Download(None), [b"two\n\n"])
    with Spool(tmp_path, "work") as spool:
        assert len(spool) == 4
        assert [spool.read(place).data for place in (1, 2, 3)] == [b"one", b"two\n\n", b"three"]


def test_at_whatever_byte_it_was_cut_what_was_whole_counts(tmp_path):
    filled(tmp_path)
    whole = (tmp_path / SPOOL).read_bytes()
    ends = [whole.index(b"three") + 5, whole.index(b"http://h/x") + 13, len(whole)]
    assert whole[ends[0] : ends[0] + 1] == whole[ends[1] : ends[1] + 1] == b"["
    for cut in range(len(whole) + 1):
        (tmp_path / SPOOL).write_bytes(whole[:cut])
        with Spool(tmp_path, "work") as spool:
            count = sum(end <= cut for end in ends)
            assert len(spool) == count
            spool.keep(9, Download(None), [b"nine"])
            spool.flush()
            assert spool.read(9).data == b"nine"
            if count:
                assert spool.read(3).data == b"three"
        with Spool(tmp_path, "work") as spool:
            assert (len(spool), spool.read(9).data) == (count + 1, b"nine")


def test_many_pieces_are_written_in_as_many_calls_as_it_takes(tmp_path):
    with Spool(tmp_path, "work") as spool:
        for place in range(5):
            spool.keep(place, Download(None), [bytes([n % 256]) for n in range(700)])
        assert spool.unwritten > 3500
        spool.flush()
        assert spool.unwritten == 0
        assert spool.read(4).data == bytes(range(256)) * 2 + bytes(range(188))


def test_a_write_that_ended_early_goes_on(tmp_path, monkeypatch):
    def half(file, pieces):
        return module.os.write(file, b"".join(pieces)[: sum(map(len, pieces)) // 2])

    with Spool(tmp_path, "work") as spool:
        spool.keep(0, Download(None), [b"ab", b"cd"])
        with monkeypatch.context() as patched:
            patched.setattr(module.os, "writev", half)
            spool.flush()
        assert spool.read(0).data == b"abcd"


@pytest.mark.parametrize("other", ["work", "boot"])
def test_other_work_or_another_start_of_the_machine_begins_anew(tmp_path, monkeypatch, other):
    filled(tmp_path)
    if other == "boot":
        monkeypatch.setattr(module, "_boot", lambda: "another")
    with Spool(tmp_path, "work" if other == "boot" else "other") as spool:
        assert len(spool) == 0
    assert (tmp_path / SPOOL).read_bytes().count(b"\n") == 1
