"""Latents and text states of what is taken down go, and all others stay as they are."""

from pathlib import Path

import pytest

from nucleus_data.corpus.store import Store
from nucleus_data.sets.encoded import WORK, encoded_name, part_name, text_key, texts_folder
from nucleus_data.sets.encoded_file import EncodedFile
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.dedup.settings import DedupSettings
from nucleus_data.stages.upkeep.encoded import still_encoded
from nucleus_data.stages.upkeep.request import Request
from nucleus_data.stages.upkeep.takedown import take_down
from nucleus_data.stages.upkeep.verify import verify
from tests.support import curated
from tests.support.latents import PARTS, add_encoded
from tests.support.sets import add_edition, texts
from tests.support.upkept import PATH, corpus_with_set, ident

SHARED = "f" * 16


def shared_texts(shard, row):
    """As `texts`, but the first two records have one caption."""
    captions, sources = texts(shard, row)
    return (["both", *captions[1:]] if row < 2 else captions), sources


@pytest.fixture
def made(tmp_path):
    """A corpus with a set, and the hashes of its latents and of the text states of an edition."""
    corpus, folder = corpus_with_set(tmp_path)
    add_edition(folder, folder.manifest_table().to_pylist(), config_hash=SHARED, say=shared_texts)
    return corpus, folder, *add_encoded(folder, SHARED)


def taken(corpus, *places):
    run = curated.run(corpus.uri, "takedown")
    done = take_down(run, Request.of([ident(*place) for place in places]), DedupSettings())
    assert run.failures == []
    return done


def values(folder, file, texts=False):
    """Key -> value of all values of a file."""
    found = EncodedFile(folder.store, folder.name(file), texts=texts)
    return {found.key(n): found.get(found.key(n)) for n in range(len(found))}


def states(folder, hashed):
    found = {}
    for part in range(PARTS):
        found |= values(folder, f"{texts_folder(hashed)}/{part_name(part)}", texts=True)
    return found


@pytest.mark.slow
def test_those_of_the_samples_go_and_the_others_keep_theirs(made):
    corpus, folder, latents, texts = made
    before = values(folder, encoded_name(latents, "64/1x1/000000.tar"))
    other = Path(folder.url(encoded_name(latents, "64/1x1/000001.tar"))).read_bytes()
    said = states(folder, texts)
    assert taken(corpus, (0, 0), (0, 2))
    gone = {bytes.fromhex(ident(0, row)) for row in (0, 2)}
    after = values(folder, encoded_name(latents, "64/1x1/000000-1.tar"))
    assert after == {key: value for key, value in before.items() if key not in gone}
    assert not Path(folder.url(encoded_name(latents, "64/1x1/000000.tar"))).exists()
    assert Path(folder.url(encoded_name(latents, "64/1x1/000001.tar"))).read_bytes() == other
    # The first record's caption "both" is the second one's, too.
    lost = {text_key(text) for text in ("short 0", "web 2", "short 2")}
    assert lost < said.keys()
    assert states(folder, texts) == {k: v for k, v in said.items() if k not in lost}
    # All of it fits, so nothing is to be encoded again.
    run = curated.run(corpus.uri, "verify")
    assert verify(run, SetFolder(corpus.store, PATH), {}, None, decode=False) == []


@pytest.mark.slow
def test_of_a_tar_of_which_nothing_is_left_nothing_is_left(made):
    corpus, folder, latents, _ = made
    assert taken(corpus, (1, 3), (1, 4))
    assert corpus.store.list(folder.name(f"encoded/{latents}/64/1x1")) == [
        f"00000{n}.safetensors" for n in (0, 1)
    ]


def test_texts_that_are_being_encoded_or_were_go_too(made):
    corpus, folder, _, texts = made
    work = folder.name(f"{texts_folder(texts)}/{WORK}/000000/0.parquet")
    half = folder.name("encoded/1/texts/000000.safetensors")
    for name in (work, half):
        corpus.store.create(name, b"web 0")
    assert taken(corpus, (0, 0))
    assert not corpus.store.exists(work)
    assert not corpus.store.exists(half)
    assert len(corpus.store.find(folder.name(texts_folder(texts)))) == PARTS + 1


def test_a_damaged_file_goes_whole(made):
    corpus, folder, latents, texts = made
    names = [encoded_name(latents, "64/1x1/000000.tar")]
    names += [f"{texts_folder(texts)}/{part_name(part)}" for part in range(PARTS)]
    for name in names:
        corpus.store.put(folder.name(name), b"text of web 0")
    assert taken(corpus, (0, 2))
    assert not corpus.store.exists(folder.name(names[0]))
    left = [n for n in names[1:] if corpus.store.exists(folder.name(n))]
    assert len(left) < PARTS  # of those with a text of the record's


def test_absence_is_proven(made, monkeypatch):
    corpus, folder, latents, _ = made
    entry = folder.manifest()[0]
    assert list(still_encoded(folder, entry.path, [ident(0, 3)])) == [
        f"{folder.name(encoded_name(latents, entry.path))} has the latent of {ident(0, 3)}"
    ]
    # A store that forgets what was put: the proof says so.
    put = Store.put

    def forgetting(store, name, data):
        if not name.endswith(".safetensors"):
            put(store, name, data)

    monkeypatch.setattr(Store, "put", forgetting)
    run = curated.run(corpus.uri, "takedown")
    assert not take_down(run, Request.of([ident(0, 0)]), DedupSettings())
    assert "has the states of text" in run.failures[0]["error"]
    monkeypatch.setattr(Store, "put", put)
    assert taken(corpus, (0, 0))
