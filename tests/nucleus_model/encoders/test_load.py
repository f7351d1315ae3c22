import pytest

from nucleus_model.encoders.codec import SpaceToDepth
from nucleus_model.encoders.load import load_codec, load_text_encoder
from nucleus_model.encoders.vae import VaeCodec
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.settings.text_encoder import TextSettings
from tests.support.model import write_qwen, write_vae


@pytest.mark.slow
def test_the_settings_choose_the_codec():
    assert isinstance(load_codec(QuickTrainSettings()), SpaceToDepth)
    assert isinstance(load_codec(QuickTrainSettings(codec="vae")), VaeCodec)


def test_the_settings_say_which_files_and_which_factor(tmp_path):
    assert load_codec(QuickTrainSettings(codec_factor=2)).factor == 2
    vae = load_codec(QuickTrainSettings(codec="vae", vae=str(write_vae(tmp_path / "vae"))))
    assert (vae.channels, vae.factor) == (4, 8)
    text = TextSettings(model=str(write_qwen(tmp_path / "qwen")), hidden_state=-1)
    encoder = load_text_encoder(QuickTrainSettings(text=text))
    assert (encoder.settings, encoder.device, encoder.width) == (text, "cpu", 32)
