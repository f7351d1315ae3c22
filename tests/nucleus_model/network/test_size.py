import pytest

from nucleus_data.errors import RequestError
from nucleus_model.network.init import build_transformer
from nucleus_model.network.size import model_size
from nucleus_model.settings.presets import PRESETS
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.settings.text_encoder import TextSettings

PUBLISHED = {
    "preset": "base",
    "codec": "vae",
    "vae": "Qwen/Qwen-Image",
    "vae_revision": "main",
    "text": TextSettings(model="Qwen/Qwen3-VL-8B-Instruct", revision="main", hidden_state=-8),
}


def test_counts_are_those_of_the_built_model():
    found = model_size(QuickTrainSettings(preset="debug", codec_factor=2, resolution=64))
    assert (found.latent_channels, found.factor, found.pixels_a_token) == (12, 2, 4)
    assert found.tokens == 16**2
    model = build_transformer(
        PRESETS["debug"], latent_channels=12, text_width=found.text_width, seed=0
    )
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert 0 < found.active < found.parameters


def test_the_published_model_is_counted_without_its_files():
    found = model_size(QuickTrainSettings(**PUBLISHED))
    assert (found.latent_channels, found.factor, found.text_width) == (16, 8, 4096)
    assert round(found.parameters / 1e9, 2) == 16.92
    assert round(found.active / 1e9, 2) == 2.11
    assert found.tokens is None


def test_what_does_not_fit_or_is_not_known_is_refused():
    with pytest.raises(RequestError, match="multiple of a token's side, 8 pixels, got 60"):
        model_size(QuickTrainSettings(resolution=60))
    unknown = PUBLISHED | {"vae": "somebody/else"}
    with pytest.raises(RequestError, match="sizes of 'somebody/else' are not known; give a folder"):
        model_size(QuickTrainSettings(**unknown))
