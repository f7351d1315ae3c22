"""Models of transformers with random weights, against transformers called by hand."""

import numpy as np
import pytest
from PIL import Image

from nucleus_data.engines.clip import load_clip
from nucleus_data.engines.find import resolve_model
from nucleus_data.errors import RequestError
from nucleus_data.stages.embed.settings import EmbedSettings, model_tables

TEXTS = ["a red ring", "", "a blue square on a red ring on a blue square on a red ring"]
WORDS = ["<pad>", "<end>", "<unknown>", "a", "red", "blue", "ring", "square", "on"]
SIDE, CONTEXT = 16, 8
TOWER = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
}
TEXT = {
    **TOWER,
    "vocab_size": len(WORDS),
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
VISION = {**TOWER, "image_size": SIDE, "patch_size": 8}


def pictures():
    rng = np.random.default_rng(0)
    sizes = [(40, 30), (16, 16), (33, 90)]
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)) for w, h in sizes]


def save(folder, kind):
    """A small model of a kind, with its tokenizer and its image processor."""
    transformers = pytest.importorskip("transformers")
    import tokenizers
    import torch

    torch.manual_seed(0)
    if kind == "clip":
        config = transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=8)
        model = transformers.CLIPModel(config)
        processor = transformers.CLIPImageProcessor(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        )
    else:
        text = {**TEXT, "projection_size": 16}
        config = transformers.SiglipConfig(text_config=text, vision_config=VISION)
        model = transformers.SiglipModel(config)
        model.logit_bias.data.fill_(-12.5)
        processor = transformers.SiglipImageProcessor(size={"height": SIDE, "width": SIDE})
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, "<unknown>")
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.post_processor = tokenizers.processors.TemplateProcessing(
        "$A <end>", None, [("<end>", 1)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<end>", unk_token="<unknown>"
    ).save_pretrained(folder)
    return model.eval(), processor


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_vectors_are_those_of_transformers_called_by_hand(tmp_path, kind):
    model, processor = save(tmp_path / "m", kind)
    import torch
    import transformers

    settings = EmbedSettings.model_validate(
        {"models": {"other": {"model": str(tmp_path / "m"), "library": "transformers"}}}
    )
    (tables,) = model_tables(settings)
    loaded = load_clip(tables.found(), library="transformers", batch=2)
    assert (loaded.batch, loaded.sides, loaded.least) == (2, (SIDE, SIDE), 2 * SIDE)
    made = loaded.images(pictures())
    texts = loaded.texts(TEXTS)
    assert made.dtype == texts.dtype == np.float32
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    tokens = tokenizer(
        TEXTS, padding="max_length", truncation=True, max_length=CONTEXT, return_tensors="pt"
    )
    tokens.pop("token_type_ids", None)
    by_pillow = transformers.AutoImageProcessor.from_pretrained(tmp_path / "m", backend="pil")
    with torch.inference_mode():
        pixels = by_pillow(images=pictures(), return_tensors="pt")
        by_torch = processor(images=pictures(), return_tensors="pt")
        images, scaled_by_torch, captions = (
            _unit(getattr(found, "pooler_output", found).numpy())
            for found in (
                model.get_image_features(**pixels),
                model.get_image_features(**by_torch),
                model.get_text_features(**tokens),
            )
        )
        logits = model(**pixels, **tokens).logits_per_image.numpy()
    np.testing.assert_allclose(made, images, atol=1e-5)
    np.testing.assert_allclose(texts, captions, atol=1e-5)
    # Where torch scales, and not Pillow, it rounds a little otherwise, even in this noise.
    assert (np.sum(made * scaled_by_torch, axis=1) > 0.999).all()
    scale, bias = loaded.logit
    np.testing.assert_allclose(scale * (made @ texts.T) + bias, logits, atol=1e-3)
    assert bias == (0 if kind == "clip" else -12.5)


@pytest.mark.slow
def test_a_vector_depends_on_nothing_beside_it(tmp_path):
    save(tmp_path / "m", "clip")
    found = resolve_model(
        str(tmp_path / "m"), None, model_tables(_settings(tmp_path / "m"))[0].kind()
    )
    loaded = load_clip(found, library="transformers", batch=3)
    together, turned = loaded.images(pictures()), loaded.images(pictures()[::-1])
    np.testing.assert_array_equal(together, turned[::-1])
    np.testing.assert_array_equal(together[1:2], loaded.images(pictures()[1:2]))
    np.testing.assert_array_equal(loaded.texts(TEXTS)[2:], loaded.texts(TEXTS[2:]))


def _unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _settings(folder):
    return EmbedSettings(model=str(folder), library="transformers")


@pytest.mark.slow
def test_a_model_without_features_is_refused(tmp_path):
    transformers = pytest.importorskip("transformers")
    text = {name: TEXT[name] for name in TOWER}
    transformers.BertModel(transformers.BertConfig(**text, vocab_size=9)).save_pretrained(tmp_path)
    (tables,) = model_tables(_settings(tmp_path))
    with pytest.raises(RequestError, match="BertModel, which has no get_image_features, get_text"):
        load_clip(tables.found(), library="transformers")
    with pytest.raises(RequestError, match=r"embed\.model: .* needs open_clip_config\.json and"):
        model_tables(EmbedSettings(model=str(tmp_path)))[0].found()
