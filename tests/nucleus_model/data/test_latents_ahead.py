"""Stored latents are read by windows: neighbours in one request, many requests in flight."""

from itertools import islice, pairwise

import pytest
import torch

from nucleus_data.corpus.store import Store
from nucleus_data.sets.encoded import ENCODED
from nucleus_data.world.throttled import counted, throttled
from nucleus_model.data import latents_ahead, stored_values
from nucleus_model.data.batches import Cursor
from nucleus_model.data.phase_data import open_phase_data
from tests.nucleus_model.data.test_stored import CODEC, write_latents
from tests.support.loading import settings
from tests.support.sets import make_set

SAMPLES, BATCH, FILES, EPOCHS = 48, 4, 6, 4
# Windows of 1, 2, 4 ... batches; each has one request a file, which is opened by two.
WINDOWS = 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A set of 48 pictures with captions of four in five, in 6 tars, and latents of all."""
    made = make_set(tmp_path_factory.mktemp("ahead") / "set", {"32/1x1": SAMPLES}, a_tar=8)
    write_latents(made, "fp32", side=32)
    return made


def epoch(uri, options=None, **changes):
    """The data, and the ids and latents of some epochs."""
    asked = settings(batch_size=BATCH, **changes)
    (data,) = open_phase_data(uri, asked, options, CODEC, 8)
    (phase,) = asked.plan()
    batches = EPOCHS * data.trained(phase) // BATCH
    with data.feed(phase, Cursor()) as feed:
        found = [(b.ids, b.latents_BCHW) for b in islice(feed, batches)]
    return data, found


def assert_same(one, other):
    for (ids, latents), (others, without) in zip(one, other, strict=True):
        assert ids == others
        assert torch.equal(latents, without)


@pytest.mark.slow
def test_a_few_requests_a_file_on_a_throttled_store(folder):
    _, without = epoch(folder.url(), encoded="off")
    uri, options = throttled(folder.url(), 0.002)
    with counted() as requests:
        data, found = epoch(uri, options)
        mine = [one for one in requests.made if ENCODED in one[1] and one[0] == "read"]
        assert_same(found, without)
    assert len({one[1] for one in mine if one[1].endswith(".safetensors")}) == FILES
    assert len(mine) <= (2 + WINDOWS) * FILES + 1 < data.stored.read / 2
    starts = sorted(one[2] for one in mine)
    ends = {one[2]: one[3] for one in mine}
    assert any(later < ends[first] for first, later in pairwise(starts))


def test_so_on_a_local_disk(folder, monkeypatch):
    asked, read = [], Store.read_range

    def counting(store, name, offset, size):
        asked.append(name)
        return read(store, name, offset, size)

    monkeypatch.setattr(Store, "read_range", counting)
    data, _ = epoch(folder.url())
    count = len([name for name in asked if name.startswith(ENCODED)])
    assert count <= (2 + WINDOWS) * FILES < data.stored.read / 2


def test_windows_are_bounded_and_files_that_do_not_fit_are_opened_again(folder, monkeypatch):
    _, without = epoch(folder.url(), encoded="off")
    sizes, begin = [], stored_values.StoredValues.begin_values

    def noting(self, wanted):
        sizes.append(len(wanted))
        return begin(self, wanted)

    monkeypatch.setattr(stored_values.StoredValues, "begin_values", noting)
    _, found = epoch(folder.url())
    assert_same(found, without)
    assert sizes[:2] == [BATCH, 2 * BATCH]
    assert 3 * BATCH < sizes[2] <= 4 * BATCH  # an epoch ends with a smaller batch
    assert len(sizes) <= WINDOWS
    sizes.clear()
    # Room for two batches of latents: of 48 channels, 8 x 8.
    monkeypatch.setattr(latents_ahead, "WINDOW_BYTES", 2 * BATCH * 4 * 48 * 8 * 8 - 1)
    monkeypatch.setattr(stored_values, "OPEN_BYTES", 1)
    _, found = epoch(folder.url())
    assert_same(found, without)
    assert max(sizes) == 2 * BATCH
