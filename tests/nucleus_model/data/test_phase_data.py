from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from nucleus_data.errors import CorpusError
from nucleus_model.data.batches import Cursor
from nucleus_model.data.feed import LoadedBatch
from nucleus_model.data.phase_data import open_phase_data
from nucleus_model.encoders.codec import SpaceToDepth
from nucleus_model.settings.settings import QuickTrainSettings
from tests.support.model import colored_items, write_set
from tests.support.training import write_two_resolutions


def opened(folder, codec=None, **values):
    codec = codec or SpaceToDepth(2)
    settings = QuickTrainSettings.model_validate({"holdout_share": 0.2, **values})
    return open_phase_data(str(folder), settings, None, codec, 2 * codec.factor)


def test_a_bucket_that_does_not_fit_the_patches_is_refused(tmp_path):
    folder = write_set(tmp_path, colored_items(2, (36, 28)), resolution=32)
    with pytest.raises(ValueError, match="36 x 28 is not a multiple of 8"):
        opened(folder, codec=SpaceToDepth(4))


def test_a_set_with_nothing_to_train_on_is_refused(tmp_path):
    folder = write_set(tmp_path, colored_items(1, (32, 32)), resolution=32)
    with pytest.raises(CorpusError, match="none of them is left to train on"):
        opened(folder, holdout_share=0.999)


def test_a_phase_without_samples_is_told_with_what_there_is(tmp_path):
    folder = write_set(tmp_path, colored_items(4, (32, 32)), resolution=32)
    with pytest.raises(CorpusError, match=r"aspects 9x9 .* the aspects 32x32 and captions synth"):
        opened(folder, aspects=["9x9"])


def test_phases_of_one_resolution_share_their_set(tmp_path):
    folder = write_two_resolutions(tmp_path)
    phases = [{"steps": 1, "resolution": side} for side in (32, 64, 32)]
    found = opened(folder, phases=phases)
    assert [data.set.resolution for data in found] == [32, 64, 32]
    assert found[0] is found[2]
    assert found[0].digest != found[1].digest
    for data in found:
        trained = {data.set.sample(int(number)).id for number in data.chosen.numbers}
        held_out = {sample.id for sample in data.held_out}
        assert trained.isdisjoint(held_out)
        assert trained | held_out == {sample.id for sample in data.set.samples}


def test_a_batch_lacks_what_cannot_be_decoded_and_keeps_its_shape(tmp_path):
    items = colored_items(3, (32, 16))
    items[1].image = items[1].image[:40]
    folder = write_set(tmp_path, items, resolution=32)
    (data,) = opened(folder, holdout_share=0.0)
    with data.feed(data.settings.plan()[0], Cursor()) as feed:
        loaded = next(feed)
    assert loaded.latents_BCHW.shape == (2, 12, 8, 16)
    assert sorted(loaded.ids) == [items[0].id, items[2].id]
    bare = LoadedBatch(loaded.plan, (), np.empty((0, 16, 32, 3), np.uint8), (), ())
    none = data.encoded(bare).latents_BCHW
    assert (none.shape, none.dtype) == ((0, 12, 8, 16), torch.float32)
    assert list(data.set.failures) == [items[1].id]


def test_for_a_gpu_a_thread_encodes_ahead_and_the_same_comes(tmp_path):
    (data,) = opened(write_set(tmp_path, colored_items(9, (32, 16)), resolution=32), batch_size=4)
    phase, said = data.settings.plan()[0], []
    fast = replace(data, settings=data.settings.model_copy(update={"device": "cuda"}))
    with data.feed(phase, Cursor()) as plain, fast.feed(phase, Cursor(), said.append) as ahead:
        for one, other in islice(zip(plain, ahead, strict=True), 5):
            assert (one.plan.cursor, one.ids) == (other.plan.cursor, other.ids)
            assert torch.equal(one.latents_BCHW, other.latents_BCHW)
            assert one.captions in said
