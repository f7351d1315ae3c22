"""Configurations that were changed at random: each is taken, or refused in a few lines, soon."""

import random
import time
from pathlib import Path

import pytest

from nucleus_data.errors import RequestError
from nucleus_data.line.recipe import load_recipe

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SEEDS = [path.read_bytes() for path in sorted(CONFIGS.rglob("*.yaml"))]
SECONDS = 2
LONGEST = 20_000  # of a message
LAUGHS = b"\n".join(
    [b"l0: &l0 [x, x, x, x, x, x, x, x, x]"]
    + [b"l%d: &l%d [%s]" % (i, i, b", ".join([b"*l%d" % (i - 1)] * 9)) for i in range(1, 9)]
)
ODD = (
    *(b"[", b"]", b"{", b"}", b"- ", b": ", b"? ", b"#", b"|", b">-", b"'", b'"', b"%YAML 9.9\n"),
    *(b"&a ", b"*a", b"<<: *a", b"a: &a [*a]", b"&a {b: *a}", b"---\n", b"...\n", b"\t", b"\0"),
    *(b"!!python/object/apply:os.system [ls]", b"!!binary x", b"!!set {a}", b"!!omap [a: 1]"),
    *(b"2024-99-99", b".nan", b"-.inf", b"0x", b"1e999", b"9" * 5000, b"!!int ''", b"1:99:99"),
    *(b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", "\u2028".encode(), b"\x1b[2J"),
    *(b"[" * 5000, b"{a: " * 2000, b"- " * 3000, b"? " * 2000, LAUGHS, b"x" * 100_000),
    b"select: {prefer: *l8}",
)


def flip(data, rng):
    data = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def put_in(data, rng):
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(ODD) + data[at:]


def put_lines(data, rng):
    lines = data.splitlines(keepends=True)
    at = rng.randrange(len(lines) + 1)
    return b"".join([*lines[:at], rng.choice(ODD) + b"\n", *lines[at:]])


def value(data, rng):
    """Another value behind a key."""
    lines = data.splitlines(keepends=True)
    at = rng.choice([i for i, line in enumerate(lines) if b":" in line] or [0])
    lines[at] = lines[at].split(b":")[0] + b": " + rng.choice(ODD) + b"\n"
    return b"".join(lines)


def twice(data, rng):
    lines = data.splitlines(keepends=True)
    start, at = rng.randrange(len(lines)), rng.randrange(len(lines))
    return b"".join(lines[:at] + lines[start : start + rng.randint(1, 9)] + lines[at:])


def cut(data, rng):
    return data[: rng.randrange(len(data))]


MUTATIONS = (flip, put_in, put_lines, value, value, twice, cut)


def mutated(seed):
    rng = random.Random(seed)
    data = rng.choice(SEEDS)
    for _ in range(rng.randint(1, 3)):
        data = rng.choice(MUTATIONS)(data, rng) or b"\n"
    return data


def check(folder, seed):
    """Whether it was taken."""
    file = folder / "recipe.yaml"
    file.write_bytes(mutated(seed))
    started = time.process_time()
    try:
        load_recipe(file)
    except RequestError as error:
        message = str(error)
        assert message.strip()
        assert len(message) < LONGEST
        return False
    finally:
        assert time.process_time() - started < SECONDS
    return True


def test_a_changed_configuration_is_taken_or_refused(tmp_path):
    taken = [check(tmp_path, seed) for seed in range(60)]
    assert {True, False} == set(taken)


@pytest.mark.slow
def test_many_changed_configurations(tmp_path):
    for seed in range(60, 3000):
        try:
            check(tmp_path, seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
