"""Trains the captioner that the package brings: a tiny Qwen3-VL that knows one synthetic world.

    python scripts/build_captioner.py --minutes 10          # writes nucleus_data/assets/captioner/
    python scripts/build_captioner.py --minutes 20          # goes on from the last checkpoint

It has the real architecture, a tokenizer and a chat template, so that the `nano` configuration goes
through the same engines as Qwen3-VL-8B, in 4 MB and without a download. Trained from nothing on
fresh scenes (none is seen twice), one core. Its captions of real pictures mean nothing. A
checkpoint is kept in `--work` every minute, and the learning rate falls to zero over the last third
of `--minutes`.
"""

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

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

from nucleus_data.captioning.prompts import PROMPTS
from nucleus_data.world import captions, render, scene
from nucleus_data.world.scenes import BACKGROUNDS, COLORS, KINDS, LIGHTS, SIZES, Scene, alt_text

ASSETS = Path(__file__).resolve().parents[1] / "nucleus_data" / "assets" / "captioner"
TRAIN_SEED, HELD_OUT_SEED = 77_000, 77_001
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
# About half of the requests carry another wording or a system message, so that a changed prompt
# still gets an answer.
OTHER_PROMPTS = {
    "short": [
        "Describe the image briefly.",
        "Write one short sentence about this picture.",
        "Short caption:",
    ],
    "long": [
        "Describe the image in detail.",
        "Write a long caption with places and light.",
        "Long caption:",
    ],
}
SYSTEM = ["You describe images for training a text-to-image model.", "You are a helpful assistant."]
# What each picture token is asked for while training (0: no shape there); without it the vision
# tower learns nothing for minutes, because guessing the grammar lowers the loss faster than
# looking.
CELL_FACTS = [list(COLORS), list(KINDS), list(SIZES), list(BACKGROUNDS), list(LIGHTS)]
CELL_WEIGHT = 0.3


def build_processor() -> Qwen3VLProcessor:
    """The tokenizer (byte-level BPE of the grammar), image processor and chat template."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    words = [text for i in range(4000) for text in captions(scene(TRAIN_SEED, i)).values()]
    words += [alt_text(scene(TRAIN_SEED, i)) for i in range(1000)]
    words += [
        *PROMPTS.values(),
        *(text for texts in OTHER_PROMPTS.values() for text in texts),
        *SYSTEM,
        "system\nuser\nassistant\n",
    ] * 500
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
    pixels = {"shortest_edge": 64 * 64, "longest_edge": 128 * 96}
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            patch_size=16,
            merge_size=2,
            temporal_patch_size=2,
            size=pixels,
            image_mean=[0.5] * 3,
            image_std=[0.5] * 3,
        ),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(patch_size=16, merge_size=2, temporal_patch_size=2),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(processor: Qwen3VLProcessor) -> Qwen3VLForConditionalGeneration:
    """A Qwen3-VL of 1.7 M parameters with random weights."""
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
            "depth": 3,
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_heads": 3,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 128,
            "num_position_embeddings": 64,
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
    # The usual 0.02 suits wide layers; at a width of 100 it drowns the positions in the patches'
    # own values.
    for name, parameter in model.named_parameters():
        if "pos_embed" in name:
            nn.init.normal_(parameter, std=0.5)
        elif parameter.ndim >= 2 and "embed_tokens" not in name:
            nn.init.normal_(parameter, std=0.7 / math.sqrt(parameter[0].numel()))
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    return model


def cell_facts(facts: Scene, rows: int, columns: int, aspect: float) -> np.ndarray:
    """What each picture token should know: (rows * columns, len(CELL_FACTS)), 0 for no shape."""
    cells = np.zeros((rows, columns, len(CELL_FACTS)), dtype=np.int64)
    cells[..., 3] = 1 + CELL_FACTS[3].index(facts.background)
    cells[..., 4] = 1 + CELL_FACTS[4].index(facts.light)
    y, x = (np.arange(rows)[:, None] + 0.5) / rows, (np.arange(columns)[None] + 0.5) / columns
    for shape in facts.shapes:
        distance = np.hypot((x - shape.x) * max(aspect, 1), (y - shape.y) * max(1 / aspect, 1))
        near = distance <= max(shape.radius, distance.min() + 1e-6)
        cells[near, :3] = [
            1 + names.index(v)
            for names, v in zip(CELL_FACTS[:3], (shape.color, shape.kind, shape.size), strict=True)
        ]
    return cells.reshape(rows * columns, -1)


def batches(
    processor: Qwen3VLProcessor, scenes: int, start: int
) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
    """Fresh scenes for ever; one batch shares a size and a variant, so that little is padding.

    Args:
        processor: Of the model.
        scenes: Pictures a batch.
        start: Number of the first batch (a batch is a function of its number).

    Yields:
        The model's inputs, with `labels` that are -100 everywhere but on the caption and its end;
        and the facts of each picture token, (tokens, len(CELL_FACTS)).
    """
    tokenizer, step = processor.tokenizer, start
    merge = processor.image_processor.merge_size**2
    while True:
        rng = np.random.default_rng([TRAIN_SEED, step])
        area, aspect = 12288 * rng.uniform(0.5, 1.3), 2 ** rng.uniform(-1, 1)
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        facts = [scene(TRAIN_SEED, step * scenes + i) for i in range(scenes)]
        pictures = [render(f, width, height) for f in facts]
        vision = processor.image_processor(pictures, return_tensors="pt")
        _, high, wide = vision["image_grid_thw"][0].tolist()
        image = "<|image_pad|>" * (high * wide // merge)
        cells = [cell_facts(f, high // 2, wide // 2, width / height) for f in facts]
        rows: list[tuple[list[int], int]] = []
        variant = ("short", "long")[step % 2]
        for f in facts:
            messages: list[dict[str, Any]] = []
            prompt = PROMPTS[variant]
            if rng.random() < 0.3:
                messages.append({"role": "system", "content": str(rng.choice(SYSTEM))})
            if rng.random() < 0.3:
                prompt = str(rng.choice(OTHER_PROMPTS[variant]))
            content = [{"type": "image"}, {"type": "text", "text": prompt}]
            messages.append({"role": "user", "content": content})
            text = processor.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=False
            )
            asked = tokenizer(text.replace("<|image_pad|>", image))["input_ids"]
            said = tokenizer(captions(f)[variant] + "<|im_end|>")["input_ids"]
            rows.append((asked + said, len(asked)))
        length = max(len(ids) for ids, _ in rows)
        input_ids = torch.full((len(rows), length), tokenizer.pad_token_id)
        labels = torch.full((len(rows), length), -100)
        mask = torch.zeros((len(rows), length), dtype=torch.long)
        for i, (ids, asked_length) in enumerate(rows):
            input_ids[i, : len(ids)] = torch.tensor(ids)
            labels[i, asked_length : len(ids)] = torch.tensor(ids[asked_length:])
            mask[i, : len(ids)] = 1
        image_id = tokenizer.convert_tokens_to_ids("<|image_pad|>")
        inputs = {
            "input_ids": input_ids,
            "attention_mask": mask,
            "labels": labels,
            "mm_token_type_ids": (input_ids == image_id).long(),
            "pixel_values": vision["pixel_values"],
            "image_grid_thw": vision["image_grid_thw"],
        }
        yield inputs, torch.from_numpy(np.concatenate(cells))
        step += 1


def train(
    args: argparse.Namespace,
) -> tuple[Qwen3VLForConditionalGeneration, Qwen3VLProcessor, dict[str, float]]:
    """Trains from the last checkpoint, or from nothing, until `args.minutes` are spent."""
    processor = build_processor()
    model = build_model(processor)
    heads = nn.ModuleList(
        nn.Linear(model.config.text_config.hidden_size, 1 + len(f)) for f in CELL_FACTS
    )
    both = nn.ModuleDict({"model": model, "heads": heads})  # the heads are not shipped
    groups = [
        {"params": [p for p in both.parameters() if p.ndim >= 2], "weight_decay": 0.05},
        {"params": [p for p in both.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98))
    step, spent = 0, 0.0
    checkpoint = args.work / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        both.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
        print(f"going on from step {step}, {spent / 60:.1f} minutes", flush=True)
    total = sum(p.numel() for p in model.parameters())
    print(f"{total / 1e6:.2f} M parameters, vocabulary {len(processor.tokenizer)}", flush=True)

    def save() -> None:
        state = {
            "weights": both.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "spent": spent,
        }
        torch.save(state, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").replace(checkpoint)

    seen: list[torch.Tensor] = []
    model.model.visual.merger.register_forward_hook(
        lambda module, inputs, output: seen.append(output)
    )
    model.train()
    loss_mean, cell_mean, last_save = None, 0.0, spent
    stream = batches(processor, args.scenes, step)
    while spent < args.minutes * 60:
        began = time.process_time()
        rate = min(1.0, (step + 1) / 100, 3 * (1 - spent / (args.minutes * 60)))
        for group in optimizer.param_groups:
            group["lr"] = args.lr * max(rate, 0.01)
        inputs, cells = next(stream)
        with torch.autocast("cpu", torch.bfloat16):  # a fifth faster; evaluated and used in float32
            loss = model(**inputs, use_cache=False).loss
        tokens = seen.pop().float()
        cell_loss = sum(
            (
                nn.functional.cross_entropy(head(tokens), cells[:, i])
                for i, head in enumerate(heads)
            ),
            torch.tensor(0.0),
        )
        (loss + CELL_WEIGHT * cell_loss).backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        loss_mean = loss.item() if loss_mean is None else 0.95 * loss_mean + 0.05 * loss.item()
        cell_mean = 0.95 * cell_mean + 0.05 * cell_loss.item()
        spent += time.process_time() - began
        if step % 25 == 0:
            print(
                f"step {step}  {spent / 60:5.2f} min  loss {loss_mean:.4f}  cells {cell_mean:.3f}",
                flush=True,
            )
        if spent - last_save > 60:
            save()
            last_save = spent
    save()
    facts = {"steps": step, "scenes": step * args.scenes, "minutes": round(spent / 60, 1)}
    return (
        model.eval(),
        processor,
        facts | {"parameters": total, "loss": round(loss_mean or 0.0, 4)},
    )


@torch.inference_mode()
def evaluate(
    model: Qwen3VLForConditionalGeneration, processor: Qwen3VLProcessor, count: int
) -> dict[str, float]:
    """Shares of words (by place) and of captions that are right, greedy, on held-out scenes."""
    measured: dict[str, float] = {"held_out_scenes": count}
    processor.tokenizer.padding_side = "left"
    for variant in ("short", "long"):
        right = words = exact = 0
        for first in range(0, count, 32):
            facts = [scene(HELD_OUT_SEED, i) for i in range(first, min(first + 32, count))]
            sizes = [((128, 128), (160, 120), (120, 180), (300, 200))[f.index % 4] for f in facts]
            messages = [
                {
                    "role": "user",
                    "content": [{"type": "image"}, {"type": "text", "text": PROMPTS[variant]}],
                }
            ]
            text = processor.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=False
            )
            pictures = [render(f, *size) for f, size in zip(facts, sizes, strict=True)]
            inputs = processor(
                text=[text] * len(facts), images=pictures, padding=True, return_tensors="pt"
            )
            out = model.generate(**inputs, do_sample=False, max_new_tokens=96)
            said = processor.batch_decode(
                out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
            )
            for f, text_said in zip(facts, said, strict=True):
                truth, found = captions(f)[variant].split(), text_said.split()
                right += sum(a == b for a, b in zip(truth, found, strict=False))
                words += max(len(truth), len(found))
                exact += truth == found
        measured[f"{variant}_words_right"] = round(right / words, 4)
        measured[f"{variant}_exactly_right"] = round(exact / count, 4)
    return measured


CARD = """# nano captioner

A Qwen3-VL of {millions:.2f} M parameters, trained from nothing by `scripts/build_captioner.py` on
scenes of `nucleus_data.world` and on nothing else: {scenes:,} scenes, {steps:,} steps, {minutes}
minutes of one CPU core. It exists so that the `nano` configuration runs the real captioning path
without a download. **Its captions of real pictures mean nothing.**

Measured on {held_out_scenes} held-out scenes (world seed {seed}), greedy, float32:

| variant | words right | captions exactly right |
|---|---|---|
| short | {short_words_right:.1%} | {short_exactly_right:.1%} |
| long | {long_words_right:.1%} | {long_exactly_right:.1%} |

Weights are stored in bfloat16; the tokenizer is a byte-level BPE over the grammar's words. Licence:
as the package.
"""


def main() -> None:
    """Trains, evaluates what will be shipped (the bfloat16 weights), and writes the assets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="training time, earlier runs included"
    )
    parser.add_argument("--scenes", type=int, default=12, help="pictures a step")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--evaluate", type=int, default=256, help="held-out scenes")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "nucleus-captioner",
        help="where the checkpoint is kept",
    )
    parser.add_argument("--out", type=Path, default=ASSETS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    model, processor, facts = train(args)
    model.to(torch.bfloat16)
    args.out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(args.out)
    processor.save_pretrained(args.out)
    facts |= evaluate(model.to(torch.float32), processor, args.evaluate)
    card = CARD.format(**facts, millions=facts["parameters"] / 1e6, seed=HELD_OUT_SEED)
    (args.out / "README.md").write_text(card)
    print(json.dumps(facts, indent=1))
    print(args.out)


if __name__ == "__main__":
    main()
