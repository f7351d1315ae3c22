"""CLIP: an open_clip model of two small towers that know the synthetic world.

In three parts: first the image tower is asked what each patch shows, then both towers learn
together, then the text tower alone learns from captions of every style (`clip_captions`). Each
picture's caption stands against those of the batch (InfoNCE, van den Oord et al. 2018) and against
its own with one fact changed; a sigmoid on the same pairs (Zhai et al. 2023, "Sigmoid Loss for
Language Image Pre-Training") makes scores of different pictures comparable. Both embeddings are
asked, by one linear layer, for the facts of the scene (which kind has which colour, which size,
which place): what contrast alone would need many more pairs to find. A small share of the loss asks
the image's for pleasantness and planted faults, as the web's captions would; the heads that are
shipped are trained afterwards, on the frozen embedding. The fused attention's backward pass is slow
on CPUs: the plain one is used.
"""

import argparse
import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedTokenizerFast

from nucleus_data.engines.find import CLIP, resolve_model
from nucleus_data.world.alt_texts import alt_text, with_a_mistake
from nucleus_data.world.alterations import FAULTS
from nucleus_data.world.painting import render
from nucleus_data.world.rating import pleasantness
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
from nucleus_data.world.words import LENGTHS, captions
from scripts.nano.captioner import Cells, cell_facts
from scripts.nano.clip_captions import train_captions
from scripts.nano.heads import follow
from scripts.nano.measuring import trained
from scripts.nano.training import ASSETS, SEEDS, first_part, init_small, say, start, train

NAME = "clip"
SEED = SEEDS[NAME]
FOLDER = ASSETS / NAME
SIDE = 112
PATCH = 8
MEAN = STD = 0.5
END, PAD = "<|end|>", "<|pad|>"
CONFIG: dict[str, Any] = {
    "embed_dim": 192,
    "vision_cfg": {
        "image_size": SIDE,
        "layers": 4,
        "width": 96,
        "head_width": 32,
        "mlp_ratio": 3.0,
        "patch_size": PATCH,
    },
    "text_cfg": {
        "context_length": 128,
        "width": 128,
        "heads": 4,
        "layers": 3,
        "mlp_ratio": 3.0,
        "pool_type": "eos",
        "pad_id": 0,
        "eos_id": 1,
        "hf_tokenizer_name": "in this folder",
    },
}
PREPROCESS = {
    "mean": [MEAN] * 3,
    "std": [STD] * 3,
    "interpolation": "bicubic",
    "resize_mode": "squash",
}
SHARES = {"tags": 0.1, "very_short": 0.15, "short": 0.5, "medium": 0.15, "long": 0.1}
RATE, SCENES = 2e-3, 24
FULL_SHARE = 0.35
VISION_SHARE, TOGETHER_SHARE = 0.2, 0.6  # of the minutes; captions take the rest
# Said of a planted fault, as captions on the web say it.
SAID = {"watermarked": "With a watermark.", "dense_text": "Covered with text."}
SAID["unsafe"] = "With a warning sign."
FAULT_SHARE = 0.3
SIDE_LOSS = 0.15
FACTS_LOSS = 30.0  # of a mean over some 280 answers, few of them yes
LENGTH_GROUPS = 4
CELLS = tuple((row, column) for row in range(3) for column in range(3))
PAIRS: tuple[tuple[object, object], ...] = (
    *product(COLORS, KINDS),
    *product(SIZES, KINDS),
    *product(TEXTURES, KINDS),
    *product(CELLS, KINDS),
    *product(CELLS, COLORS),
    *product(("background",), BACKGROUNDS),
    *product(("ground",), GROUNDS),
    *product(("light",), LIGHTS),
    *product(("style",), STYLES),
    *product(("word",), WORDS),
)
PLACES = {pair: place for place, pair in enumerate(PAIRS)}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE of the grammar; every text ends with `END`."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    words = list(SAID.values()) * 100
    for index in range(3000):
        facts = scene(SEED, index, "full")
        words += [*captions(facts).values(), alt_text(facts).text]
    bpe.train_from_iterator(
        words,
        trainers.BpeTrainer(
            vocab_size=640,
            special_tokens=[PAD, END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    bpe.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=END, pad_token=PAD, model_max_length=128
    )


def build_model(vocabulary: int) -> nn.Module:
    """The open_clip model with random weights."""
    import open_clip

    text = {k: v for k, v in CONFIG["text_cfg"].items() if k != "hf_tokenizer_name"}
    torch.manual_seed(0)
    model = open_clip.CLIP(
        CONFIG["embed_dim"], CONFIG["vision_cfg"], {**text, "vocab_size": vocabulary}
    )
    init_small(model, keep=("token_embedding", "class_embedding", "logit", "positional"))
    nn.init.normal_(model.positional_embedding, std=0.3)
    nn.init.normal_(model.visual.positional_embedding, std=0.3)
    nn.init.normal_(model.token_embedding.weight, std=0.3)
    return model


def pixels(pictures: list[Image.Image]) -> torch.Tensor:
    """As open_clip's transform of `PREPROCESS`: (B, 3, SIDE, SIDE)."""
    levels = [np.asarray(p.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for p in pictures]
    stacked = torch.from_numpy(np.stack(levels)).permute(0, 3, 1, 2).float() / 255
    return (stacked - MEAN) / STD


def facts_of(facts: Scene) -> np.ndarray:
    """Which of `PAIRS` are true of a scene: float32 (len(PAIRS),)."""
    true: list[tuple[object, object]] = [
        ("background", facts.background),
        ("ground", facts.ground),
        ("light", facts.light),
        ("style", facts.style),
    ]
    true += [("word", facts.word)] if facts.word else []
    for shape in facts.shapes:
        cell = (shape.row, shape.column)
        true += [(what, shape.kind) for what in (shape.color, shape.size, shape.texture, cell)]
        true.append((cell, shape.color))
    answer = np.zeros(len(PAIRS), np.float32)
    answer[[PLACES[pair] for pair in true]] = 1
    return answer


class Batcher:
    """Batches of fresh scenes, some with a planted fault.

    Args:
        scenes: Pictures a batch.
        first: Index of the first scene.
        words: Give captions too, not only pictures.
    """

    def __init__(self, scenes: int, first: int, *, words: bool) -> None:
        self.tokenizer = build_tokenizer()
        self.scenes, self.first, self.words = scenes, first, words

    def __call__(self, step: int) -> dict[str, torch.Tensor]:
        """`pixels`, `cells`; with words `true`, `wrong` (ids) and more truth."""
        rng = np.random.default_rng([SEED, step, 9])
        numbers = [self.first + step * self.scenes + i for i in range(self.scenes)]
        pictures, true, wrong, pleasant, faults, cells = [], [], [], [], [], []
        answers = []
        for number in numbers:
            level: Level = "full" if rng.random() < FULL_SHARE else "core"
            facts = scene(SEED, number, level)
            aspect = 2 ** rng.uniform(-1, 1)
            side = SIDE * rng.uniform(1.0, 1.5)
            width, height = round(side * math.sqrt(aspect)), round(side / math.sqrt(aspect))
            picture = render(facts, width, height)
            fault = str(rng.choice(list(SAID))) if rng.random() < FAULT_SHARE else ""
            if fault:
                picture = FAULTS[fault](picture, int(rng.integers(3)), rng)
            pictures.append(picture)
            cells.append(cell_facts(facts, SIDE // PATCH, SIDE // PATCH, width / height))
            answers.append(facts_of(facts))
            good, bad = self._said(facts, fault, rng)
            true.append(good)
            wrong.append(bad)
            pleasant.append((pleasantness(facts) - 5.5) / 2)
            faults.append([name == fault for name in SAID])
        batch = {"pixels": pixels(pictures), "cells": torch.from_numpy(np.concatenate(cells))}
        if self.words:
            ids = self.tokenizer([*true, *wrong], padding=True, return_tensors="pt")["input_ids"]
            batch |= {
                "true": ids[: self.scenes],
                "wrong": ids[self.scenes :],
                "pleasant": torch.tensor(pleasant, dtype=torch.float32),
                "faults": torch.tensor(faults, dtype=torch.float32),
                "facts": torch.from_numpy(np.stack(answers)),
            }
        return batch

    def _said(self, facts: Scene, fault: str, rng: np.random.Generator) -> tuple[str, str]:
        length = LENGTHS[int(rng.choice(len(LENGTHS), p=[SHARES[name] for name in LENGTHS]))]
        more = f" {SAID[fault]}" if fault and rng.random() < 0.7 else ""
        while True:
            good, bad = captions(facts)[length], captions(with_a_mistake(facts, rng))[length]
            if good != bad:  # a very short caption tells no background
                return good + more, bad + more


class Towers(nn.Module):
    """The model with what is asked of it while training."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.cells = Cells(CONFIG["vision_cfg"]["width"])
        self.side = nn.Sequential(
            nn.Linear(CONFIG["embed_dim"], 64), nn.GELU(), nn.Linear(64, 1 + len(SAID))
        )
        self.facts_heads = nn.Linear(CONFIG["embed_dim"], len(PAIRS))
        nn.init.constant_(self.facts_heads.bias, -3.0)  # few of the answers are yes
        self.scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.bias = nn.Parameter(torch.tensor(-5.0))
        self.tokens: list[torch.Tensor] = []
        self.hook = model.visual.transformer.register_forward_hook(
            lambda m, given, out: self.tokens.append(out)
        )

    def look(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        """What each patch shows."""
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            self.model.encode_image(batch["pixels"])
        return self._cells(batch), self.cells.figures

    def _cells(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        patches = self.tokens.pop()[:, 1:]
        self.tokens.clear()
        return self.cells(patches.flatten(0, 1), batch["cells"])

    def match(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        """Pictures against captions, and against captions that are nearly true."""
        count = len(batch["true"])
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            image = self.model.encode_image(batch["pixels"], normalize=True)
            text = encode_texts(self.model, torch.cat([batch["true"], batch["wrong"]]))
        image, text = image.float(), text.float()
        cosine = image @ text.T
        logits = self.model.logit_scale.exp().clamp(max=60) * cosine
        here = torch.arange(count)
        contrast = F.cross_entropy(logits, here) + F.cross_entropy(logits[:, :count].T, here)
        pairs = self.scale.exp() * cosine + self.bias
        own = torch.stack([pairs[here, here], pairs[here, here + count]], 1)
        sigmoid = F.binary_cross_entropy_with_logits(own, torch.tensor([1.0, 0.0]).expand(count, 2))
        cells = self._cells(batch)
        # The numbers of a unit vector are small; scaled so, they vary by about one.
        side = self.side(image * math.sqrt(image.shape[1]))
        asked = F.mse_loss(side[:, 0], batch["pleasant"]) + F.binary_cross_entropy_with_logits(
            side[:, 1:], batch["faults"]
        )
        facts = self._facts(image, batch) + self._facts(text[:count], batch)
        loss = contrast + sigmoid + 0.05 * cells + SIDE_LOSS * asked + FACTS_LOSS * facts
        right = (logits.argmax(1) == here).float().mean()
        told = (own[:, 0] > own[:, 1]).float().mean()
        return loss, {
            "contrast": contrast.item() / 2,
            "right": right.item(),
            "told": told.item(),
            "side": asked.item(),
            "facts": facts.item() / 2,
        }

    def _facts(self, vectors: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        logits = self.facts_heads(vectors * math.sqrt(vectors.shape[1]))
        return F.binary_cross_entropy_with_logits(logits, batch["facts"])


def encode_text(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """As open_clip's `encode_text`, of texts shorter than the context: (B, L) to (B, D), unit."""
    length = ids.shape[1]
    x = model.token_embedding(ids) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    ends = (ids == CONFIG["text_cfg"]["eos_id"]).int().argmax(1)
    return F.normalize(x[torch.arange(len(ids)), ends] @ model.text_projection, dim=-1)


def encode_texts(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """`encode_text` in groups of like lengths, so that few of the tokens are padding."""
    lengths = (ids != CONFIG["text_cfg"]["pad_id"]).sum(1)
    order = lengths.argsort()
    groups = order.chunk(LENGTH_GROUPS)
    vectors = torch.cat([encode_text(model, ids[g, : int(lengths[g].max())]) for g in groups])
    return vectors[order.argsort()]


def save(model: nn.Module, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Writes what open_clip's `local-dir:` reads."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {k: v.to(torch.bfloat16).contiguous() for k, v in model.state_dict().items()}
    save_file(weights, out / "open_clip_model.safetensors")
    config = {**CONFIG, "text_cfg": {**CONFIG["text_cfg"], "vocab_size": len(tokenizer)}}
    whole = {"model_cfg": config, "preprocess_cfg": PREPROCESS}
    (out / "open_clip_config.json").write_text(json.dumps(whole, indent=2) + "\n")
    tokenizer.save_pretrained(out)


def build(args: argparse.Namespace) -> str:
    """Trains all parts, or with `args.last` the last one on the weights in `args.out`; saves."""
    start(args)
    tokenizer = build_tokenizer()
    folder = args.out / NAME
    if args.last:
        import open_clip

        before = resolve_model(str(folder), None, CLIP).revision
        model = open_clip.create_model(f"local-dir:{folder}")
        said = train_captions(model, tokenizer, pixels, encode_texts, args, args.minutes)
        earlier = trained(folder).removesuffix(".")
        save(model, tokenizer, folder)
        follow(args.out / "heads", before, resolve_model(str(folder), None, CLIP).revision)
        return f"{earlier}; then, with --last, {said}"
    model = build_model(len(tokenizer))
    say(f"clip: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters")
    towers = Towers(model)
    shares = (VISION_SHARE, TOGETHER_SHARE, 1 - VISION_SHARE - TOGETHER_SHARE)
    first, both, last = (share * args.minutes for share in shares)
    looking = nn.ModuleDict({"visual": model.visual, "cells": towers.cells})
    few = Batcher(args.scenes, 0, words=False)
    alone = first_part(
        NAME,
        args,
        lambda: train(
            f"{NAME}-vision",
            looking,
            few,
            towers.look,
            argparse.Namespace(work=args.work, minutes=first),
            rate=args.lr,
        ),
    )
    maker = Batcher(4 * args.scenes, 1 << 30, words=True)
    spent = argparse.Namespace(work=args.work, minutes=both)
    at = train(NAME, towers, maker, towers.match, spent, rate=args.lr)
    towers.hook.remove()
    said = train_captions(model, tokenizer, pixels, encode_texts, args, last)
    save(model, tokenizer, folder)
    return f"the image tower alone {alone}; then everything {at}; then {said}"
