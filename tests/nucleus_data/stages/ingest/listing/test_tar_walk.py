import io
import tarfile
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleus_data.stages.ingest.listing.tar_walk import MOST_NAME, TarWalk
from tests.support.ingested import tar_bytes
from tests.support.tars import BLOCK, END, header, member, pax

FIRST, LAST = member(b"first.jpg", b"1"), member(b"last.jpg", b"9")


def walked(*parts, end=END):
    data = b"".join(parts) + end
    walk = TarWalk(io.BytesIO(data), len(data))
    return list(walk.members()), walk.damage


# What is between two good members -> a word of its problem; None if it can be read.
ONE_MEMBER = {
    "hard_link": (member(b"x.jpg", kind=b"1", link=b"first.jpg"), "hard link to 'first.jpg'"),
    "symbolic_link": (member(b"x.jpg", kind=b"2", link=b"/etc/passwd"), "symbolic link"),
    "device": (member(b"x.jpg", kind=b"3"), "device"),
    "pipe": (member(b"x.jpg", kind=b"6"), "pipe"),
    "unknown_type": (member(b"x.jpg", b"abc", kind=b"Z"), "type b'Z'"),
    "contiguous": (member(b"x.jpg", b"abc", kind=b"7"), None),
    "old_header": (member(b"x.jpg", b"abc", kind=b"\0"), None),
    "size_minus_1": (pax((b"size", b"-1")) + member(b"x.jpg", b"abc"), "size is '-1'"),
    "size_that_is_none": (pax((b"size", b"9" * 5000)) + member(b"x.jpg", b"abc"), "its size is"),
    "pax_size": (pax((b"size", b"3")) + header(b"x.jpg", 0) + b"abc".ljust(BLOCK, b"\0"), None),
    "pax_name": (pax((b"path", b"x.jpg")) + member(b"other.bin", b"abc"), None),
    "pax_of_pax": (pax((b"path", b"x.jpg")) * 2000 + member(b"other.bin", b"abc"), None),
    "pax_for_all": (pax((b"comment", b"x"), kind=b"g") + member(b"x.jpg", b"abc"), None),
    "pax_that_lies": (
        member(b"p", b"99999 path=a.jpg\n", b"x") + member(b"x.jpg", b"abc"),
        "malformed",
    ),
    "pax_of_zero": (member(b"p", b"0 path=a.jpg\n", b"x") + member(b"x.jpg", b"abc"), "malformed"),
    "pax_no_equals": (member(b"p", b"8 path\n\n", b"x") + member(b"x.jpg", b"abc"), "malformed"),
    "pax_of_many": (pax(*[(b"a", b"")] * 1001) + member(b"x.jpg", b"abc"), "1000 records"),
    "pax_huge": (pax((b"a", bytes(2 << 20))) + member(b"x.jpg", b"abc"), "extended header of"),
    "long_name": (member(b"L", b"x.jpg\0", b"L") + member(b"o.bin", b"abc"), None),
    "long_name_without_end": (
        member(b"L", b"x" * (MOST_NAME - 4) + b".jpg", b"L") + member(b"o.bin", b"abc"),
        None,
    ),
    "name_too_long": (
        member(b"L", b"x" * MOST_NAME + b".jpg", b"L") + member(b"o.bin", b"abc"),
        "characters",
    ),
    "name_huge": (
        member(b"L", b"x" * (2 << 20), b"L") + member(b"x.jpg", b"abc"),
        "extended header of",
    ),
    "sparse_pax": (
        pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.name", b"x.jpg")) + member(b"G", b"3\n0\n"),
        "sparse",
    ),
    "no_name": (member(b"", b"abc"), None),
}


@pytest.mark.parametrize("name", ONE_MEMBER)
def test_one_member_costs_itself_alone(name):
    content, problem = ONE_MEMBER[name]
    found, damage = walked(FIRST, content, LAST)
    assert damage is None
    assert [m.name for m in found][::2] == ["first.jpg", "last.jpg"]
    assert [m.problem for m in found][::2] == [None, None]
    odd = found[1]
    assert odd.name.startswith("x") or name == "no_name"
    assert odd.problem is None if problem is None else problem in odd.problem
    if problem is None:
        assert odd.size == 3


def test_a_sparse_file_of_the_old_kind_is_passed_with_its_map():
    map_goes_on = bytearray(167)
    map_goes_on[482 - 345] = 1
    more = bytes(504) + b"\1" + bytes(7)
    head = bytearray(header(b"x.jpg", 3, b"S"))
    head[345:] = bytes(482 - 345) + b"\1" + b"00000000011\0" + bytes(17)
    from tests.support.tars import checked

    sparse = checked(bytes(head)) + more + bytes(BLOCK) + b"abc".ljust(BLOCK, b"\0")
    found, damage = walked(FIRST, sparse, LAST)
    assert ([m.name for m in found], damage) == (["first.jpg", "x.jpg", "last.jpg"], None)
    assert found[1].problem == "a sparse file"


NO_HEADER = {
    "checksum": (FIRST[:20] + b"!" + FIRST[21:] + LAST, "damaged header"),
    "size_beyond": (header(b"x.jpg", 1 << 32) + LAST, "ends at byte"),
    "size_negative": (header(b"x.jpg", b"\xff" * 12) + LAST, "size of 'x.jpg' is -1"),
    "long_name_beyond": (header(b"L", 1 << 32, b"L") + LAST, "extended header claims"),
    "pax_beyond": (header(b"p", 1 << 30, b"x") + LAST, "extended header claims"),
    "half": (LAST[:100], "ends"),
}


@pytest.mark.parametrize("name", NO_HEADER)
def test_what_follows_a_header_that_is_none_is_lost_and_said(name):
    content, damage = NO_HEADER[name]
    found, said = walked(FIRST, content, end=b"" if name == "half" else END)
    assert [m.name for m in found] == ["first.jpg"]
    assert damage in said


def test_what_is_behind_the_end_is_walked_or_said():
    found, damage = walked(FIRST, END, bytes(20 * BLOCK), LAST)
    assert ([m.name for m in found], damage) == (["first.jpg", "last.jpg"], None)
    found, damage = walked(FIRST, bytes(BLOCK), LAST)  # a lone block of zeros
    assert ([m.name for m in found], damage) == (["first.jpg", "last.jpg"], None)
    found, damage = walked(FIRST, END, b"garbage" * 100)
    assert [m.name for m in found] == ["first.jpg"]
    assert "no tar follow the end-of-archive mark" in damage
    assert "no end-of-archive mark" in walked(FIRST, end=b"")[1]


@pytest.mark.parametrize(("magic", "kind"), [(b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd")])
def test_a_compressed_tar_called_tar_is_named(magic, kind):
    assert f"{kind} data" in walked(magic, bytes(600), b"x")[1]


@pytest.mark.slow
def test_time_and_memory_are_bounded():
    # Each of these costs tarfile seconds, its stack, or as much memory as the header claims.
    bombs = [
        pax((b"path", b"x.jpg")) * 2000,
        pax(*[(b"a", b"")] * 200_000),
        member(b"p", b"9" * 300_000 + b" path=x\n", b"x"),
        member(b"p", b"1" * 900_000, b"x"),
        member(b"p", b"=" * 300_000, b"x"),
        member(b"L", b"x" * (8 << 20), b"L"),
        b"".join(member(b"%d.jpg" % i) for i in range(1000)),
    ]
    data = FIRST + b"".join(bomb + member(b"x.jpg", b"abc") for bomb in bombs) + LAST + END
    file = io.BytesIO(data)
    tracemalloc.start()
    started = time.process_time()
    count = 0
    for found in TarWalk(file, len(data)).members():
        count += found.name in ("first.jpg", "last.jpg")
    seconds, memory = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 2
    assert seconds < 5
    assert memory < 8 << 20


def test_listing_reads_no_image(tmp_path):
    # An image's bytes are garbage for tarfile, and far larger than what the listing may read.
    path = tmp_path / "t.tar"
    path.write_bytes(tar_bytes([(f"{i}.png", bytes(3 << 20)) for i in range(4)]))

    class Counting(io.FileIO):
        read_bytes = 0

        def read(self, size=-1):
            data = super().read(size)
            Counting.read_bytes += len(data)
            return data

    with Counting(path) as file:
        assert len(list(TarWalk(file, path.stat().st_size))) == 4
    assert Counting.read_bytes < 20_000


@settings(max_examples=80)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 1500)), max_size=6),
    st.integers(0, 12_000),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_a_walk_finds_a_prefix_and_notices_every_cut(members, cut, kind):
    content = [(f"{'ü' * 60 * long}{i}.png", bytes(n)) for i, (long, n) in enumerate(members)]
    whole = tar_bytes(content, format=kind)
    data = whole[:cut]
    walk = TarWalk(io.BytesIO(data), len(data))
    found = list(walk)
    whole_walk = TarWalk(io.BytesIO(whole), len(whole))
    expected = list(whole_walk)
    assert [(m.name, m.size) for m in expected] == [(name, len(data)) for name, data in content]
    assert whole_walk.damage is None
    assert found == expected[: len(found)]
    assert walk.damage is not None or found == expected
