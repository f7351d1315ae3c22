"""Real kills (SIGKILL of a child process) while a set is written, encoded, verified, taken from.

Twenty of them in all: each child dies at a later write than the one before, and the next one goes
on. In the end every byte is that of work which nobody killed, and what is taken down is absent.
"""

import shutil
from pathlib import Path

import pytest

from nucleus_data.corpus import Corpus
from tests.support import killed as work
from tests.support.captioned_sets import captioned_sets
from tests.support.encodes import Encoding
from tests.support.ingested import tree
from tests.support.killed import killed
from tests.support.latents import add_encoded, latent, states
from tests.support.sharded import content_of
from tests.support.upkept import corpus_with_set, ident

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def kills(first, step, do, *arguments):
    """Has children do work until one is done; returns how many died."""
    count = 0
    while killed(do, *arguments, at=first + step * count):
        count += 1
        assert count < 40
    return count


def files(root):
    return {name: data for name, data in tree(root).items() if not name.startswith("runs/")}


def test_while_a_set_is_written(tmp_path):
    corpus, *_ = captioned_sets(tmp_path)
    uri = Path(corpus.uri)
    other = shutil.copytree(uri, tmp_path / "other")
    work.written(other)
    assert kills(5, 14, work.written, uri) >= 5
    assert content_of(uri / "sets") == content_of(other / "sets")


def test_while_it_is_encoded(tmp_path):
    whole, cut = Encoding(tmp_path / "whole"), Encoding(tmp_path / "cut")
    whole.run()
    assert kills(4, 5, work.encoded, tmp_path / "cut") >= 4
    assert cut.files() == whole.files()


def test_while_it_is_verified(tmp_path):
    corpus, folder = corpus_with_set(tmp_path)
    latents, _ = add_encoded(folder)
    file = Path(folder.url(f"encoded/{latents}/64/1x1/000001.safetensors"))
    data = bytearray(file.read_bytes())
    data[1000] ^= 1
    file.write_bytes(data)
    before = files(corpus.uri)
    assert kills(2, 3, work.verified, corpus.uri, ["encoded"]) >= 4
    assert files(corpus.uri) == before
    work.verified(corpus.uri, ["encoded"])


def test_while_a_picture_is_taken_down(tmp_path):
    corpus, folder = corpus_with_set(tmp_path)
    add_encoded(folder)
    other = shutil.copytree(corpus.uri, tmp_path / "other")
    gone = [ident(0, 1), ident(1, 2)]
    entry = folder.manifest()[0]
    latents = [latent(one, entry).data for one in gone]
    before = b"".join(files(corpus.uri).values())
    assert all(one in before for one in latents)
    work.taken(other, gone)
    assert kills(4, 7, work.taken, corpus.uri, gone) >= 7
    assert files(corpus.uri) == files(other)
    work.verified(corpus.uri, [])
    # Nothing of them but their ids, not even in what dead processes left half written.
    content = [b"web 1.jpg", b"web 12.jpg", *latents]
    content += [states(text).data for text in ("web 1", "short 1", "web 12", "short 12")]
    for name, data in files(corpus.uri).items():
        assert not [one for one in content if one in data], name
    ids = Corpus(corpus.uri).table("records").filter("error IS NULL").aggregate("count(*)")
    assert ids.fetchall() == [(8,)]
