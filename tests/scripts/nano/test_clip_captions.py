import numpy as np
import pytest

from nucleus_data.engines.find import ASSETS
from nucleus_data.world.alt_texts import ALT_KINDS, alt_text, with_a_mistake
from nucleus_data.world.scenes import scene

torch = pytest.importorskip("torch")
captions = pytest.importorskip("scripts.nano.clip_captions")

STYLES = tuple(captions.SHARES)
ROWS = 70


@pytest.fixture(scope="module")
def batch():
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(ASSETS / "clip" / "tokenizer.json"), pad_token="<|pad|>"
    )
    vectors = np.random.default_rng(0).standard_normal((ROWS, 192)).astype(np.float32)
    return captions.CaptionBatcher(tokenizer, vectors)(0)


@pytest.mark.parametrize("style", STYLES)
def test_what_is_said_is_true_of_the_scene_and_not_of_one_with_a_mistake(style):
    rng = np.random.default_rng(1)
    for index in range(20):
        facts = scene(3, index, "full")
        good = captions.said(facts, style, index % 2)
        assert good.text
        assert good.claim in captions.claims(facts)
        wrong = captions.said(with_a_mistake(facts, rng), style, index % 2)
        assert wrong.text == good.text or wrong.claim not in captions.claims(facts)


def test_styles_are_those_of_true_alt_texts():
    """Whatever the world says truly of a picture is trained on, word for word."""
    for index in range(40):
        facts = scene(3, index)
        for kind, style in (("terse", "terse"), ("good", "short"), ("other_language",) * 2):
            said = {captions.said(facts, style, language).text for language in range(2)}
            assert alt_text(facts, kind).text in said


def test_one_claim_in_two_languages_is_one(batch):
    facts = scene(3, 0)
    terse, german, spanish = (
        captions.said(facts, *how)
        for how in (("terse", 0), ("other_language", 0), ("other_language", 1))
    )
    assert terse.claim == german.claim == spanish.claim
    assert len({terse.text, german.text, spanish.text}) == 3


def test_a_batch_knows_which_text_is_true_of_which_picture(batch):
    true = captions.STYLES_EACH * captions.SCENES
    assert batch["images"].shape == (captions.SCENES, 192)
    own = batch["right"][batch["own"], torch.arange(len(batch["own"]))]
    assert own[:true].all()
    assert not own[true:].any()
    assert not batch["right"][:, 2 * true :].any()  # generic texts and file names
    assert set(captions.NOTHING) < set(ALT_KINDS)
