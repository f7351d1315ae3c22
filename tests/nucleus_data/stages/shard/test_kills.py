"""A run that is killed at any write goes on, and ends with the bytes of one that was not."""

import hashlib

import pytest

from nucleus_data.corpus import local_files
from tests.support import curated
from tests.support.captioned_sets import SETTINGS, captioned_sets
from tests.support.quick import quick
from tests.support.sharded import CARD, made_files

NAMES = "shard.captions=[source, short]"


class Killed(BaseException):
    """As `kill -9`: nothing catches it."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return captioned_sets(tmp_path_factory.mktemp("kills"))[0]


def shard(corpus, name):
    run = curated.run(
        corpus.uri, "shard", *SETTINGS, NAMES, f"shard.name={name}", "shard.samples_per_tar=2"
    )
    run.do("shard")
    return corpus.store.path(run.training_set)


def made(corpus, name):
    """Relative path -> bytes of a set's files; its card with another name."""
    files = made_files(shard(corpus, name))
    return {
        path: file.read_bytes().replace(name.encode(), b"NAME")
        if path in CARD
        else hashlib.sha256(file.read_bytes()).hexdigest()
        for path, file in files.items()
    }


def dying(monkeypatch, after):
    """Writes die: every other time before the file has its name, else just after."""
    link = local_files.link
    writes = iter(range(10_000))

    def dies(target, name, write):
        if "sets/" not in name:
            return link(target, name, write)
        n = next(writes)
        if n == after and after % 2:
            raise Killed
        try:
            return link(target, name, write)
        finally:
            if n == after:
                raise Killed

    monkeypatch.setattr(local_files, "link", dies)


@pytest.mark.slow
@pytest.mark.parametrize("times", quick([4, 20], 1))
def test_kills_while_a_set_is_written(corpus, monkeypatch, times):
    wanted = made(corpus, f"whole{times}")
    kills = 0
    for time in range(times):
        dying(monkeypatch, time % 4)  # a resumed run makes what is not there: each phase is hit
        try:
            shard(corpus, f"killed{times}")
        except Killed:
            kills += 1
        monkeypatch.undo()
    assert kills == times
    assert made(corpus, f"killed{times}") == wanted
