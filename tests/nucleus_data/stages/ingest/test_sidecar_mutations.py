"""What stands beside a picture, changed at random: columns that can be stored, or a reason."""

import json
import random
import re
import time

import pyarrow as pa
import pytest

from nucleus_data.stages.ingest.fields import LEFT_OUT
from nucleus_data.stages.ingest.listing.spool import PREFIX
from nucleus_data.stages.ingest.sidecars import (
    CAPTION,
    CAPTION_ERROR,
    CAPTIONS,
    INVALID,
    MANY,
    NOT_TEXT,
    caption_columns,
    json_columns,
)
from nucleus_data.stages.ingest.texts import ENCODING, MOST_CHARACTERS, TOO_LONG

SECONDS = 1
REASONS = {INVALID, MANY, NOT_TEXT, ENCODING, TOO_LONG}
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
CONTENT = {
    "caption": "a red cat",
    "captions": ["ä", "ü"],
    "n": 3,
    "s": {"x": [1]},
    "t": [1.5, None],
}
CODECS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252")
SEEDS = [json.dumps(CONTENT, ensure_ascii=False).encode(codec) for codec in CODECS]
SEEDS += ["ein grüner Stern\nan der Wand".encode(codec) for codec in CODECS]
SEEDS += [b'["a cat", "a red cat"]', b'"a text"', b"[]", b"{}"]
ODD = (
    *(b"[", b"]", b"{", b"}", b'"', b",", b":", b"\\u0000", b"\\ud800", b"\\", b"\0", b"\x1b[2J"),
    *(
        b"[" * 50_000,
        b'{"a":' * 50_000,
        b"9" * 5000,
        b"-1e999",
        b"NaN",
        b"1" * 25,
        b"null",
        b"true",
    ),
    *(b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc0\x80"),
    *(b'"caption": 3,', b'"captions": {},', b'"caption": "b",', b'"columns_left_out": "x",'),
    b",".join(b'"k%d": %d' % (i, i) for i in range(2000)) + b",",
    b"x" * (MOST_CHARACTERS + 1),
)


def flip(data, rng):
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def put_in(data, rng):
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(ODD) + data[at:]


def cut(data, rng):
    return data[: rng.randrange(len(data))]


def swap(data, rng):
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[b:] + data[a:b] + data[:a]


def mutated(seed):
    rng = random.Random(seed)
    data = rng.choice(SEEDS)
    for _ in range(rng.randint(1, 3)):
        data = rng.choice((flip, put_in, put_in, cut, swap))(data, rng) or b"\0"
    return data


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def check(data, read, encoding):
    """The columns that were read."""
    started = time.process_time()
    columns = read(data, encoding)
    assert time.process_time() - started < SECONDS
    assert all(name.startswith(PREFIX) for name in columns)
    assert pa.Table.from_pylist([{"row": 0, **columns}]).num_rows == 1
    for name, value in columns.items():
        for text in (name, *strings(value)):
            assert not CONTROLS.search(text)
    assert columns.get(CAPTION_ERROR) in {None, *REASONS}
    assert columns.get(LEFT_OUT, 1) > 0
    if CAPTIONS in columns:
        assert columns[CAPTION] in columns[CAPTIONS]
    if CAPTION in columns:
        assert 0 < len(columns[CAPTION]) <= MOST_CHARACTERS
        # What was read is there in the bytes: nothing was replaced.
        assert "\ufffd" not in columns[CAPTION]
    return columns


def check_all(seeds):
    found = []
    for seed in seeds:
        data = mutated(seed)
        for read in (caption_columns, json_columns):
            for encoding in (None, "cp1252"):
                try:
                    found.append(check(data, read, encoding))
                except Exception as error:
                    raise AssertionError(f"seed {seed}, {read.__name__}, {encoding}") from error
    return found


def test_changed_sidecars_are_read_or_have_a_reason():
    found = check_all(range(150))
    assert {columns.get(CAPTION_ERROR) for columns in found} >= {None, INVALID, ENCODING, TOO_LONG}


@pytest.mark.slow
def test_many_changed_sidecars():
    check_all(range(150, 10_000))
