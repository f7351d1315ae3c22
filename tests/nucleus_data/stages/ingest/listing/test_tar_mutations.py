"""Tars that were changed at random: whatever `tarfile` can read is a record, or is counted.

The mutations are those of `MUTATIONS`, from a seed; headers get their right checksum half the time,
so that damage goes deeper than the first check.
"""

import contextlib
import io
import json
import random
import sys
import tarfile
import time

import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.stages.ingest.claims import claim_numbers, read_claim
from nucleus_data.stages.ingest.listing.tar_walk import TarWalk
from tests.support.ingested import ingest, tar_bytes, tiny
from tests.support.tars import BLOCK, checked, member, pax

SECONDS_A_TAR = 2


def seeds():
    """Valid tars: ustar, pax and GNU headers, long names, texts and JSON."""
    members = []
    for i in range(4):
        name = f"{'long/' * 30 * (i == 2)}{i}.v{i % 2}"
        members += [(f"{name}.png", tiny(i)), (f"{name}.txt", b"a caption")]
        members += [(f"{name}.json", json.dumps({"likes": i, "tags": ["x"]}).encode())]
    members.append(("big.bin", bytes(3 * BLOCK)))
    kinds = (tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)
    return [tar_bytes(members, format=kind) for kind in kinds]


SEEDS = seeds()
ODD_SIZES = (b"\xff" * 12, b"77777777777\0", b"-1".ljust(12, b"\0"), b"\x80" + b"\xff" * 11)


def blocks(data):
    return [data[i : i + BLOCK] for i in range(0, len(data), BLOCK)]


def flip(data, rng):
    data = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def flip_header(data, rng):
    """Changes a header, and mends its checksum."""
    parts = blocks(data)
    headers = [i for i, part in enumerate(parts) if part[257:262] == b"ustar"]
    at = rng.choice(headers or [0])
    part = bytearray(parts[at].ljust(BLOCK, b"\0"))
    what = rng.randrange(4)
    if what == 0:
        part[156] = rng.choice(b"0123456789xgLKSXVDMAN\0Z")
    elif what == 1:
        part[124:136] = rng.choice(
            (*ODD_SIZES, b"%011o\0" % rng.randrange(1 << rng.randint(1, 32)))
        )
    elif what == 2:
        part[rng.randrange(100)] = rng.choice(b"./\0\xff\x1b")
    else:
        part[rng.randrange(BLOCK)] = rng.randrange(256)
    parts[at] = checked(bytes(part))
    return b"".join(parts)


def cut(data, rng):
    return data[: rng.randrange(len(data))]


def twice(data, rng):
    parts = blocks(data)
    start = rng.randrange(len(parts))
    again = parts[start : start + rng.randint(1, 4)]
    at = rng.randrange(len(parts))
    return b"".join(parts[:at] + again * rng.randint(1, 3) + parts[at:])


def swap(data, rng):
    parts = blocks(data)
    a, b = rng.randrange(len(parts)), rng.randrange(len(parts))
    parts[a], parts[b] = parts[b], parts[a]
    return b"".join(parts)


def without(data, rng):
    parts = blocks(data)
    start = rng.randrange(len(parts))
    return b"".join(parts[:start] + parts[start + rng.randint(1, 3) :])


def put_in(data, rng):
    """Puts a header between blocks that says odd things of the next."""
    size = rng.choice((b"-1", b"1e3", b"0", b"513", b"9" * 30, b" 7", b"\xff"))
    odd = rng.choice(
        [
            pax((b"size", size)),
            pax((b"path", rng.choice((b"../x.png", b"", b"\xff\0.png", b"a" * 5000 + b".png")))),
            pax((b"GNU.sparse.map", b"0,1"), (b"GNU.sparse.size", size)),
            pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")),
            pax((b"path", b"all.png"), kind=b"g"),
            member(b"p", rng.choice((b"x", b"0 a=\n", b"99 a=b\n", b"7 a=b\n9 =")), b"x"),
            member(b"L", rng.choice((b"", b"\0", b"n.png", b"\xff" * 700)), b"L"),
            bytes(BLOCK * rng.randint(1, 3)),
            pax((b"path", b"x.png")) * 1500,
        ]
    )
    at = rng.randrange(len(data) // BLOCK + 1) * BLOCK
    return data[:at] + odd + data[at:]


MUTATIONS = (flip, flip_header, flip_header, cut, twice, swap, without, put_in, put_in)


def mutated(seed):
    """A tar, and how many of its first bytes are those of a valid one."""
    rng = random.Random(seed)
    whole = data = rng.choice(SEEDS)
    for _ in range(rng.randint(1, 3)):
        data = rng.choice(MUTATIONS)(data, rng) or b"\0"
    same = next((i for i, (a, b) in enumerate(zip(whole, data, strict=False)) if a != b), None)
    return data, min(len(whole), len(data)) if same is None else same


def of_tarfile(data):
    """Where the files that `tarfile` reads begin; it may break off with any error."""
    found = []
    depth = sys.getrecursionlimit()
    with contextlib.suppress(Exception), tarfile.open(fileobj=io.BytesIO(data)) as tar:
        while (info := tar.next()) is not None:
            # (A size below zero sends it back into what it has read.)
            if info.size < 0 or (found and info.offset_data <= found[-1]):
                break
            if info.isreg() and info.offset_data + info.size <= len(data):
                found.append(info.offset_data)
    assert sys.getrecursionlimit() == depth
    return found


def check_walk(data, same):
    """The walk of a tar against `tarfile`'s."""
    walk = TarWalk(io.BytesIO(data), len(data))
    found = list(walk.members())
    places = {m.offset for m in found}
    end = max((m.offset + m.size for m in found), default=0)
    # Where a size is said in no number, tarfile takes it for 0, and we the header's own: from there
    # on the two may read other blocks as headers.
    doubtful = min(
        (m.offset for m in found if "extended header" in (m.problem or "")), default=None
    )
    for place in of_tarfile(data):
        if doubtful is not None and place >= doubtful:
            break
        # Behind damage that is said, nothing is claimed to be known.
        assert place in places or (walk.damage is not None and place > end)
    for m in found:
        assert 0 <= m.offset <= m.offset + m.size <= len(data)
    # All that ends before the first changed byte, and the header behind it, is there.
    whole = next(s for s in SEEDS if s[:same] == data[:same])
    expected = TarWalk(io.BytesIO(whole), len(whole))
    early = [m for m in expected if m.offset + m.size <= same]
    assert [m for m in found if m.problem is None][: len(early)] == early
    assert found[: len(early)] == early


def check_ingest(tmp_path, tars):
    """The records of changed tars, all of them one source."""
    (tmp_path / "t").mkdir(parents=True)
    for number, data in tars.items():
        (tmp_path / "t" / f"{number:06d}.tar").write_bytes(data)
    corpus = Corpus(str(tmp_path / "corpus"), create=True)
    plan = ingest(corpus, tmp_path / "t", images_per_shard=1000)
    rows = [
        row for n in claim_numbers(corpus.store) for row in read_claim(corpus, n).rows.to_pylist()
    ]
    assert plan.found == len(rows)
    assert len({row["id"] for row in rows}) == len(rows)
    for number, data in tars.items():
        mine = [row for row in rows if row["path"].decode() == f"{number:06d}.tar"]
        walk = TarWalk(io.BytesIO(data), len(data))
        found = list(walk.members())
        pictures = {m.offset for m in found if m.name.endswith(".png")}
        # One record for each picture; one for all that is lost.
        damaged = [row for row in mine if row["error"] == "tar_truncated"]
        taken = {row["offset"] for row in mine if row["offset"] is not None}
        hidden = plan.skipped.get("(hidden)", 0)
        # (A picture whose name lost its ending is told by its bytes.)
        assert taken <= {m.offset for m in found}
        assert len(pictures - taken) <= hidden
        assert len(damaged) == (walk.damage is not None)
    return plan


@pytest.fixture(scope="module")
def some():
    return {seed: mutated(seed) for seed in range(300)}


@pytest.mark.slow
def test_mutated_tars_lose_nothing_silently(some):
    for data, same in some.values():
        started = time.process_time()
        check_walk(data, same)
        assert time.process_time() - started < SECONDS_A_TAR


@pytest.mark.slow
def test_mutated_tars_are_ingested(tmp_path, some):
    plan = check_ingest(tmp_path, {seed: some[seed][0] for seed in range(100)})
    assert plan.found > 300


@pytest.mark.slow
def test_many_mutated_tars(tmp_path):
    for seed in range(300, 6_300):
        data, same = mutated(seed)
        started = time.process_time()
        try:
            check_walk(data, same)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
        assert time.process_time() - started < SECONDS_A_TAR, f"seed {seed}"
    for start in range(300, 2300, 1000):
        tars = {seed: mutated(seed)[0] for seed in range(start, start + 1000)}
        check_ingest(tmp_path / str(start), tars)
