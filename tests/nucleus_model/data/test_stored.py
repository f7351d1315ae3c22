"""Stored latents and text states, as a run reads them: what is wrong costs itself alone."""

from itertools import islice

import pytest
import torch

from nucleus_data.corpus.store import Store
from nucleus_data.hashing import config_hash
from nucleus_data.sets.encoded import (
    ENCODED,
    Value,
    encode_values,
    encoded_name,
    text_key,
    texts_folder,
    write_marker,
)
from nucleus_model.data.batches import Cursor
from nucleus_model.data.phase_data import open_phase_data
from nucleus_model.data.stored import open_texts
from nucleus_model.data.stored_values import TORCH
from nucleus_model.encoders.codec import SpaceToDepth
from nucleus_model.settings.encoded import latents_identity, texts_identity
from tests.support.loading import settings
from tests.support.quick import quick
from tests.support.sets import make_set

CODEC = SpaceToDepth(4)
BATCHES = 3  # of an epoch: 4 and 1 of one bucket, 4 of the other
TAR = "64/1x1/000000.tar"


def numbers(tensor, dtype="fp32"):
    return tensor.to(TORCH[dtype]).contiguous().view(torch.uint8).numpy().tobytes()


@pytest.fixture
def folder(tmp_path):
    """A set of 11 pictures, and latents of all of them; those of the first tar are 4."""
    made = make_set(tmp_path / "set")
    write_latents(made, "fp32")
    return made


def write_latents(made, dtype, side=64):
    about = latents_identity(settings(), side, dtype)
    hashed = config_hash(about)
    (data,) = open_phase_data(made.url(), settings(encoded="off"), None, CODEC, 8)
    for tar in range(len(data.set.tables.paths)):
        values = {}
        for row in range(len(data.set.tables.places(tar))):
            sample = data.set.sample_at(tar, row)
            image = torch.from_numpy(data.set.image(sample)[None])
            latent = CODEC.encode(image)
            values[bytes.fromhex(sample.id)] = Value(numbers(latent, dtype), tuple(latent.shape))
            shape = tuple(latent.shape[1:])
        name = encoded_name(hashed, data.set.tables.path(tar))
        made.store.create(name, encode_values(values, shape, dtype))
    write_marker(made.store, f"{ENCODED}/{hashed}", about)


def epoch(made, **changes):
    """The data, and its first batches: ids, captions and latents."""
    asked = settings(**changes)
    (data,) = open_phase_data(made.url(), asked, None, CODEC, 8)
    (phase,) = asked.plan()
    found = []
    with data.feed(phase, Cursor()) as feed:
        found += [(b.ids, b.captions, b.latents_BCHW) for b in islice(feed, BATCHES)]
    return data, found


def assert_same(one, other):
    assert [batch[:2] for batch in one] == [batch[:2] for batch in other]
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a[2], b[2])


@pytest.mark.slow
def test_batches_are_the_same_with_and_without_and_no_picture_is_decoded(folder):
    data, found = epoch(folder)
    other, without = epoch(folder, encoded="off")
    assert_same(found, without)
    assert (data.stored.read, data.stored.lacking, other.stored) == (9, 0, None)
    # With every picture's bytes gone, the batches are the same still.
    for tar in folder.manifest():
        folder.store.put(tar.path, bytes(tar.bytes))
    _, blind = epoch(folder)
    assert_same(blind, without)


@pytest.mark.slow
def test_batches_are_the_same_with_workers(folder):
    _, without = epoch(folder, encoded="off")
    data, found = epoch(folder, loader={"workers": 2})
    assert_same(found, without)
    assert data.stored.read == 9


@pytest.mark.parametrize("damage", quick(["value", "missing", "cut short"], 1))
def test_a_damaged_file_costs_what_is_in_it_alone(folder, damage):
    _, without = epoch(folder, encoded="off")
    hashed = config_hash(latents_identity(settings(), 64, "fp32"))
    name = encoded_name(hashed, TAR)
    content = folder.store.read(name)
    folder.store.remove(name)
    if damage == "value":
        at = 8 + int.from_bytes(content[:8], "little") + 5 * 8 + 100  # behind `starts`
        folder.store.create(name, content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    elif damage == "cut short":
        folder.store.create(name, content[:100])
    data, found = epoch(folder)
    assert_same(found, without)
    assert list(data.stored.faults) == [name]
    assert data.stored.lacking == (1 if damage == "value" else 4)
    assert data.stored.read + data.stored.lacking == 9


@pytest.mark.slow
def test_another_precision_is_taken_where_it_is_asked_for_and_rounds_so_much(tmp_path):
    made = make_set(tmp_path / "set")
    for dtype, most in (("bf16", 2**-8), ("fp16", 2**-11)):
        write_latents(made, dtype)
        _, without = epoch(made)  # fp32 is asked for, and is not there
        data, found = epoch(made, encoded=dtype)
        assert data.stored.read == 9
        for a, b in zip(found, without, strict=True):
            assert a[:2] == b[:2]
            difference = (a[2] - b[2]).abs()
            assert difference.max() > 0
            assert (difference <= most * b[2].abs() + 1e-6).all()


def test_text_states_by_text(tmp_path):
    store, asked = Store(str(tmp_path)), settings()
    identity = texts_identity(asked, "e" * 16, "fp32")
    where = texts_folder(config_hash(identity))
    assert open_texts(store, asked, "e" * 16, 3) is None
    states = torch.arange(6.0).reshape(2, 3)
    values = {text_key("a cat"): Value(numbers(states), (2, 3), cut=True)}
    store.create(f"{where}/000000.safetensors", encode_values(values, (3,), "fp32", texts=True))
    write_marker(store, where, {**identity, "parts": 1})
    found = open_texts(store, asked, "e" * 16, 3)
    ((got, cut),) = found.of(["a cat"])
    assert torch.equal(got, states)
    assert cut
    assert found.of(["a dog"]) == [None]
    assert (found.read, found.lacking, found.faults) == (1, 1, {})
    # Another edition, prompt or width: not these.
    assert open_texts(store, asked, "f" * 16, 3) is None
    assert open_texts(store, settings(text={"max_tokens": 64}), "e" * 16, 3) is None
    wider = open_texts(store, asked, "e" * 16, 4)
    assert wider.of(["a cat"]) == [None]
    assert "a value has the shape (2, 3)" in wider.faults[f"{where}/000000.safetensors"]
