"""What runs of a process share: opened sets, of which few stay open, and their latents."""

import pytest

from nucleus_model.data.kept import Kept
from nucleus_model.encoders.codec import SpaceToDepth
from nucleus_model.settings.settings import QuickTrainSettings
from tests.support.model import colored_items, write_set


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    return [str(write_set(root / str(n), colored_items(4, first=n))) for n in range(3)]


def test_a_set_is_opened_once_and_tells_no_failure_of_another_run(folders):
    kept = Kept()
    opened = kept.open(folders[0])
    opened.failures["a"] = "of the run before"
    assert kept.open(folders[0], resolution=None) is opened
    assert not opened.failures
    assert kept.open(folders[0], resolution=64) is not opened


def test_few_sets_stay_open_and_their_latents_go_with_them(folders):
    kept, settings = Kept(sets=2), QuickTrainSettings()
    codec = SpaceToDepth(4)
    first = kept.open(folders[0])
    latents = kept.latents(first, codec, settings, 1000)
    assert kept.latents(first, codec, settings, 1000) is latents
    other = settings.model_copy(update={"codec_factor": 2})
    assert kept.latents(first, SpaceToDepth(2), other, 1000) is not latents
    second = kept.open(folders[1])
    assert kept.open(folders[0]) is first  # the second one was asked for longest ago
    kept.open(folders[2])
    assert kept.open(folders[0]) is first
    assert kept.open(folders[1]) is not second
    assert kept.latents(kept.open(folders[2]), codec, settings, 1000) is not latents
