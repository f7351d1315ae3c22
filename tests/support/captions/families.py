"""Tiny random vision models of other families than the packaged one, with its tokenizer."""

import json
from pathlib import Path

import numpy as np

from nucleus_data.engines.captioner import Ask, EngineSettings, Sampling
from nucleus_data.engines.find import CAPTIONER
from nucleus_data.engines.load import load_engine
from tests.support.captioned import ask, drain

SIZES = ((96, 96, 3), (64, 120, 3), (128, 50, 3))
QUESTIONS = ("Describe this image.", "List tags.", "What is it? <|im_end|>")
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def make_qwen25(folder):
    """Writes a Qwen2.5-VL: windows in its vision tower, positions in three dimensions."""
    import transformers

    nano = json.loads((Path(CAPTIONER.nano) / "config.json").read_text())
    tokenizer = transformers.AutoTokenizer.from_pretrained(CAPTIONER.nano)
    rope = {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 10000.0}
    config = transformers.Qwen2_5_VLConfig(
        text_config={**TEXT, "vocab_size": len(tokenizer), "rope_parameters": rope},
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 2,
            "out_hidden_size": 64,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        **{name: value for name, value in nano.items() if name.endswith("_token_id")},
    )
    pixels = {"min_pixels": 56 * 56, "max_pixels": 28 * 28 * 64}
    processor = transformers.Qwen2_5_VLProcessor(
        transformers.Qwen2VLImageProcessor(**pixels),
        tokenizer,
        transformers.Qwen2VLVideoProcessor(),
        chat_template=tokenizer.chat_template,
    )
    _write(folder, transformers.Qwen2_5_VLForConditionalGeneration, config, processor)


def make_llava(folder):
    """Writes a LLaVA: CLIP's tower, every picture of one size, and Llama."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(CAPTIONER.nano)
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    template = tokenizer.chat_template.replace(
        "<|vision_start|><|image_pad|><|vision_end|>", "<image>"
    )
    size = {"image_size": 64, "patch_size": 16}
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=3,
            num_attention_heads=2,
            **size,
        ),
        text_config=transformers.LlamaConfig(**TEXT, vocab_size=len(tokenizer) + 63 & ~63),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    processor = transformers.LlavaProcessor(
        transformers.CLIPImageProcessor(
            size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}
        ),
        tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )
    _write(folder, transformers.LlavaForConditionalGeneration, config, processor)
    # transformers 5 leaves this level of the names out, and vLLM 0.32 reads it.
    _rename(folder / "model.safetensors", "vision_tower.", "vision_tower.vision_model.")


MAKERS = {"qwen25": make_qwen25, "llava": make_llava}


def captioned(kind, folder):
    """Asks an engine three questions about three pictures, together and each alone.

    Returns:
        Answers together, answers alone, and the number of pictures encoded for the former.
    """
    settings = EngineSettings(
        engine=kind, model=str(folder), max_side=128, max_in_flight=16, max_model_len=1024
    )
    engine, random = load_engine(settings), np.random.default_rng(0)
    pictures = [random.integers(0, 255, size, dtype=np.uint8) for size in SIZES]
    asks = [
        [Ask(f"{i}/{j}", text, Sampling(12)) for j, text in enumerate(QUESTIONS)]
        for i in range(len(pictures))
    ]
    prepared = [engine.prepare(*pair) for pair in zip(pictures, asks, strict=True)]
    for one in prepared:
        engine.submit(one)
    together, alone = drain(engine), {}
    encoded = engine.counts()["pictures"]
    for picture, some in zip(pictures, asks, strict=True):
        for one in some:
            alone |= drain(engine, ask(engine, one, picture))
    return together, alone, encoded


def _write(folder, kind, config, processor):
    import torch

    torch.manual_seed(0)
    model = kind(config)
    with torch.no_grad():
        for one in model.parameters():
            if one.dim() > 1:  # far larger than at the start of training, so that texts differ
                one.normal_(0, 0.3)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _rename(file, old, new):
    from safetensors.torch import load_file, save_file

    weights = {name.replace(old, new): tensor for name, tensor in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
