import pytest

from nucleus_data.errors import RequestError
from nucleus_model.checkpoints.checkpoint import save_checkpoint
from nucleus_model.checkpoints.exchange import NOTES, pipeline_text, save_pipeline
from nucleus_model.checkpoints.saved import load_saved
from nucleus_model.encoders.codec import SpaceToDepth
from nucleus_model.encoders.vae import VaeCodec
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.settings.text_encoder import TextSettings
from tests.support.model import awake_model, random_model, write_qwen, write_vae


def test_a_checkpoint_brings_what_it_was_trained_with(tmp_path):
    text = TextSettings(model=str(write_qwen(tmp_path / "qwen")), hidden_state=-1)
    settings = QuickTrainSettings(preset="debug", codec_factor=2, text=text)
    record = {"settings": settings.model_dump(mode="json"), "resolution": 48}
    save_checkpoint(tmp_path / "000600", awake_model(), record)
    found = load_saved(tmp_path / "000600")
    assert (found.name, found.resolution, found.multiple) == ("000600", 48, 4)
    assert isinstance(found.codec, SpaceToDepth)
    assert found.text.settings == text
    with pytest.raises(RequestError, match=r"is neither a checkpoint .* nor a pipeline"):
        load_saved(tmp_path)


@pytest.mark.slow
def test_a_pipeline_of_others_has_the_published_settings(tmp_path):
    """As a checkpoint that somebody else trained has no notes of ours."""
    qwen, vae = write_qwen(tmp_path / "qwen", 9, processor=True), write_vae(tmp_path / "vae")
    save_pipeline(
        tmp_path / "p", random_model(), TextSettings(model=str(qwen)), str(vae), resolution=64
    )
    assert load_saved(tmp_path / "p").resolution == 64
    (tmp_path / "p" / NOTES).unlink()
    found = load_saved(tmp_path / "p")
    assert (found.name, found.resolution, found.multiple) == ("p", 1024, 16)
    assert isinstance(found.codec, VaeCodec)
    assert found.text.settings == pipeline_text(tmp_path / "p")
    assert found.text.settings.hidden_state == -8
