"""The captioner: a Qwen3-VL of a few million parameters that knows the synthetic world.

Trained from nothing on fresh scenes (none is seen twice) in two parts. First the vision tower alone
is asked, for each picture token, what is there: colour, kind, size and texture of the shape, and
what is behind it. Then the whole model learns to write captions, while the towers' question goes on
with a small weight. Without the first part the language tower learns the grammar, and for many
minutes nothing from the pictures: guessing lowers the loss faster than looking.
"""

import argparse
import math
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    Qwen2TokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from nucleus_data.stages.caption.prompts import PROMPTS, question
from nucleus_data.world.alt_texts import ALT_KINDS, alt_text
from nucleus_data.world.painting import render
from nucleus_data.world.scenes import (
    BACKGROUNDS,
    COLORS,
    GROUNDS,
    KINDS,
    LIGHTS,
    SIZES,
    STYLES,
    TEXTURES,
    WORDS,
    Level,
    Scene,
    scene,
)
from nucleus_data.world.words import captions
from scripts.nano.training import ASSETS, SEEDS, first_part, init_small, say, start, train

NAME = "captioner"
SEED = SEEDS[NAME]
FOLDER = ASSETS / NAME
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}"
    "{% if c.type in ['image', 'image_url', 'image_pil'] %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PATCH = 8
PIXELS = 128 * 112
SHARES = {"tags": 0.1, "very_short": 0.1, "short": 0.2, "medium": 0.15, "long": 0.3, "refine": 0.15}
RATE, SCENES = 2e-3, 16
FULL_SHARE = 0.25
VISION_SHARE = 0.3
# One in five requests carries another wording or a system message, so that a changed prompt still
# gets an answer.
OTHER_PROMPTS = {
    "short": ["Describe the image briefly.", "Write a short caption of this picture."],
    "long": ["Describe the image in detail.", "Write a long caption of this picture."],
}
SYSTEM = ["You describe images for training a text-to-image model.", "You are a helpful assistant."]
# What a picture token is asked: of the shape that is there (0: none), then of the whole picture.
SHAPE_FACTS = {"color": tuple(COLORS), "kind": KINDS, "size": tuple(SIZES), "texture": TEXTURES}
SCENE_FACTS = {
    "background": tuple(BACKGROUNDS),
    "ground": GROUNDS,
    "light": LIGHTS,
    "style": STYLES,
    "word": ("", *WORDS),
    "word_place": ("", "top", "bottom"),
}
CELL_WEIGHT = 0.1


def build_processor() -> Qwen3VLProcessor:
    """The tokenizer (byte-level BPE of the grammar), image processor and chat template."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    words = []
    for index in range(3000):
        facts = scene(SEED, index, "full")
        words += [*captions(facts).values(), alt_text(facts).text]
    others = [text for texts in OTHER_PROMPTS.values() for text in texts]
    prompts = [*(PROMPTS[name] for name in SHARES), *others, *SYSTEM]
    words += [*prompts, "system\nuser\nassistant\n"] * 300
    bpe.train_from_iterator(
        words,
        trainers.BpeTrainer(
            vocab_size=768,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = Qwen2TokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        extra_special_tokens=SPECIAL,
        model_max_length=4096,
    )
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            patch_size=PATCH,
            merge_size=2,
            temporal_patch_size=2,
            size={"shortest_edge": 64 * 64, "longest_edge": PIXELS},
            image_mean=[0.5] * 3,
            image_std=[0.5] * 3,
        ),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(
            patch_size=PATCH, merge_size=2, temporal_patch_size=2
        ),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(processor: Qwen3VLProcessor) -> Qwen3VLForConditionalGeneration:
    """A small Qwen3-VL with random weights."""
    tokenizer = processor.tokenizer
    ids = {s: tokenizer.convert_tokens_to_ids(s) for s in SPECIAL}
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": math.ceil(len(tokenizer) / 64) * 64,
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
                "rope_theta": 1e4,
            },
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": 4,
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_heads": 3,
            "patch_size": PATCH,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 128,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": [1],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = Qwen3VLForConditionalGeneration(config)
    model.set_attn_implementation("eager")  # the fused backward pass is slow on CPUs
    init_small(model, keep=("embed_tokens",))
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    return model


def cell_facts(facts: Scene, rows: int, columns: int, aspect: float) -> np.ndarray:
    """What each picture token should know.

    Returns:
        (rows * columns, facts): numbers of values in `SHAPE_FACTS` (from 1; 0 for no shape), then
        in `SCENE_FACTS`.
    """
    shape_cells = np.zeros((rows, columns, len(SHAPE_FACTS)), dtype=np.int64)
    y, x = (np.arange(rows)[:, None] + 0.5) / rows, (np.arange(columns)[None] + 0.5) / columns
    for shape in facts.shapes:
        distance = np.hypot((x - shape.x) * max(aspect, 1), (y - shape.y) * max(1 / aspect, 1))
        near = distance <= max(shape.radius, distance.min() + 1e-6)
        shape_cells[near] = [
            1 + values.index(getattr(shape, fact)) for fact, values in SHAPE_FACTS.items()
        ]
    truth = {fact: getattr(facts, fact) for fact in SCENE_FACTS}
    truth["word_place"] = facts.word_place if facts.word else ""
    whole = [values.index(truth[fact]) for fact, values in SCENE_FACTS.items()]
    cells = np.concatenate([shape_cells, np.broadcast_to(whole, (rows, columns, len(whole)))], -1)
    return cells.reshape(rows * columns, -1)


class Batcher:
    """Makes batches of fresh scenes; one batch shares a size and a variant: little is padding.

    Args:
        scenes: Pictures a batch.
        first: Index of the first scene, so that both parts of the training see other scenes.
        words: Give questions and captions too, not only pictures.
    """

    def __init__(self, scenes: int, first: int, *, words: bool) -> None:
        self.processor = build_processor()
        self.scenes, self.first, self.words = scenes, first, words

    def __call__(self, step: int) -> dict[str, torch.Tensor]:
        """The model's inputs, `labels` that are -100 but on the answer, and `cells`."""
        rng = np.random.default_rng([SEED, step, 9])
        area, aspect = PIXELS * rng.uniform(1.0, 1.6), 2 ** rng.uniform(-1, 1)
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        numbers = [self.first + step * self.scenes + i for i in range(self.scenes)]
        levels: list[Level] = ["full" if rng.random() < FULL_SHARE else "core" for _ in numbers]
        facts = [scene(SEED, n, level) for n, level in zip(numbers, levels, strict=True)]
        pictures = [render(f, width, height) for f in facts]
        vision = self.processor.image_processor(pictures, return_tensors="pt")
        _, high, wide = vision["image_grid_thw"][0].tolist()
        cells = [cell_facts(f, high // 2, wide // 2, width / height) for f in facts]
        batch = {
            "cells": torch.from_numpy(np.concatenate(cells)),
            "pixel_values": vision["pixel_values"],
            "image_grid_thw": vision["image_grid_thw"],
        }
        if self.words:
            variant = str(rng.choice(list(SHARES), p=list(SHARES.values())))
            rows = [self._asked_and_said(f, variant, high * wide // 4, rng) for f in facts]
            batch |= self._padded(rows)
        return batch

    def _asked_and_said(
        self, facts: Scene, variant: str, tokens: int, rng: np.random.Generator
    ) -> tuple[list[int], list[int]]:
        processor = self.processor
        prompt = PROMPTS[variant]
        if variant == "refine":
            prompt = question(prompt, alt_text(facts, _poor_kind(rng)).text)
        elif variant in OTHER_PROMPTS and rng.random() < 0.2:
            prompt = str(rng.choice(OTHER_PROMPTS[variant]))
        messages = asked(prompt, str(rng.choice(SYSTEM)) if rng.random() < 0.2 else None)
        text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        image = "<|image_pad|>" * tokens
        ids = processor.tokenizer(text.replace("<|image_pad|>", image))["input_ids"]
        answer = captions(facts)["short" if variant == "refine" else variant]
        return ids, processor.tokenizer(answer + "<|im_end|>")["input_ids"]

    def _padded(self, rows: list[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
        tokenizer = self.processor.tokenizer
        length = max(len(ids) + len(said) for ids, said in rows)
        input_ids = torch.full((len(rows), length), tokenizer.pad_token_id)
        labels = torch.full((len(rows), length), -100)
        mask = torch.zeros((len(rows), length), dtype=torch.long)
        for i, (ids, said) in enumerate(rows):
            end = len(ids) + len(said)
            input_ids[i, :end] = torch.tensor(ids + said)
            labels[i, len(ids) : end] = torch.tensor(said)
            mask[i, :end] = 1
        image_id = tokenizer.convert_tokens_to_ids("<|image_pad|>")
        types = (input_ids == image_id).long()
        return {
            "input_ids": input_ids,
            "labels": labels,
            "attention_mask": mask,
            "mm_token_type_ids": types,
        }


def asked(prompt: str, system: str | None = None) -> list[dict[str, Any]]:
    """Messages of one request, with one image."""
    content = [{"type": "image"}, {"type": "text", "text": prompt}]
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": content}]


def _poor_kind(rng: np.random.Generator) -> str:
    """Half of the captions to refine are nearly right; the rest are of any kind."""
    return "partly_wrong" if rng.random() < 0.5 else str(rng.choice(list(ALT_KINDS)))


class Cells(nn.Module):
    """The question to each picture token; not shipped."""

    def __init__(self, width: int) -> None:
        super().__init__()
        counts = [1 + len(v) for v in SHAPE_FACTS.values()] + [len(v) for v in SCENE_FACTS.values()]
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleList(nn.Linear(width, count) for count in counts)

    def forward(self, tokens: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """Summed cross-entropies, and each; tokens (N, width), cells (N, facts).

        Tokens with a shape weigh as much as the many without one.
        """
        tokens = self.norm(tokens.float())
        shown = cells[:, 0] > 0
        # A mean over all tokens would be won by saying "nothing here" everywhere.
        weight = torch.where(
            shown, 0.5 / shown.sum().clamp(min=1), 0.5 / (~shown).sum().clamp(min=1)
        )
        losses = []
        for i, head in enumerate(self.heads):
            each = nn.functional.cross_entropy(head(tokens), cells[:, i], reduction="none")
            losses.append((weight * each).sum() if i < len(SHAPE_FACTS) else each.mean())
        names = (*SHAPE_FACTS, *SCENE_FACTS)
        self.figures = {n: loss.item() for n, loss in zip(names, losses, strict=True)}
        return torch.stack(losses).sum()


def build(args: argparse.Namespace) -> str:
    """Trains both parts and writes the assets. `args.minutes` are those of both together."""
    start(args)
    processor = build_processor()
    model = build_model(processor)
    total = sum(p.numel() for p in model.parameters())
    say(f"captioner: {total / 1e6:.2f} M parameters, vocabulary {len(processor.tokenizer)}")
    width = model.config.text_config.hidden_size
    cells = Cells(width)
    seen: list[torch.Tensor] = []
    model.model.visual.merger.register_forward_hook(lambda module, given, out: seen.append(out))

    def look(batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        seen.clear()
        with torch.autocast("cpu", torch.bfloat16):
            model.model.visual(batch["pixel_values"], grid_thw=batch["image_grid_thw"])
        return cells(seen.pop(), batch["cells"]), cells.figures

    def speak(batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        seen.clear()
        inputs = {key: value for key, value in batch.items() if key != "cells"}
        with torch.autocast("cpu", torch.bfloat16):  # a fifth faster; measured in float32
            words = model(**inputs, use_cache=False).loss
        where = cells(seen.pop(), batch["cells"])
        return words + CELL_WEIGHT * where, {"words": words.item(), "cells": where.item()}

    first = argparse.Namespace(work=args.work, minutes=VISION_SHARE * args.minutes)
    rest = argparse.Namespace(work=args.work, minutes=(1 - VISION_SHARE) * args.minutes)
    vision = nn.ModuleDict({"visual": model.model.visual, "cells": cells})
    both = nn.ModuleDict({"model": model, "cells": cells})
    maker = Batcher(args.scenes, 0, words=False)
    alone = first_part(
        NAME, args, lambda: train(f"{NAME}-vision", vision, maker, look, first, rate=1.5e-3)
    )
    # From far on in the world: no scene of the first part is seen again.
    at = train(NAME, both, Batcher(args.scenes, 1 << 30, words=True), speak, rest, rate=args.lr)
    out = args.out / NAME
    out.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(out)
    processor.save_pretrained(out)
    return f"the image tower alone {alone}; then everything {at}"
