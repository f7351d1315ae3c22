"""Heads on the frozen embedding of the nano CLIP: pleasantness, unsafe, and text laid over.

Each is two linear layers. Pleasantness learns from noisy ratings (three raters a picture, as real
ones come), the other two from planted faults. Embedding the pictures takes most of the minutes;
they are painted, encoded as files and decoded again, as the line does it.
"""

import argparse
import io
import json
import math
import time
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from nucleus_data.embedding import load_clip
from nucleus_data.models import CLIP, resolve_model
from nucleus_data.world.alterations import FAULTS
from nucleus_data.world.files import encoded
from nucleus_data.world.painting import render
from nucleus_data.world.rating import pleasantness, ratings
from nucleus_data.world.scenes import Level, scene
from scripts.nano.training import ASSETS, SEEDS, Progress, say, start

NAME = "heads"
SEED = SEEDS[NAME]
FOLDER = ASSETS / NAME
HEADS = {"pleasantness": "value", "unsafe": "probability", "overlaid_text": "probability"}
PLANTED = {"unsafe": "unsafe", "watermarked": "overlaid_text", "dense_text": "overlaid_text"}
RATE, SCENES = 3e-3, 64
FAULT_SHARE = 0.4
HIDDEN = 64
STEPS = 3000


def pictures(seed: int, first: int, count: int, level: Level) -> list[dict[str, Any]]:
    """Pictures as the line decodes them, with what is true of each.

    Returns:
        `image`, `pleasantness`, `rated` (mean of three raters), `fault` (or empty).
    """
    made = []
    for index in range(first, first + count):
        rng = np.random.default_rng([seed, index, 10])
        facts = scene(seed, index, level)
        side, aspect = rng.uniform(200, 380), 2 ** rng.uniform(-1, 1)
        picture = render(facts, round(side * math.sqrt(aspect)), round(side / math.sqrt(aspect)))
        fault = str(rng.choice(list(PLANTED))) if rng.random() < FAULT_SHARE else ""
        if fault:
            picture = FAULTS[fault](picture, int(rng.integers(3)), rng)
        data = encoded(picture, "JPEG", int(rng.integers(75, 96)))
        made.append(
            {
                "image": Image.open(io.BytesIO(data)).convert("RGB"),
                "pleasantness": pleasantness(facts),
                "rated": float(np.mean(ratings(facts))),
                "fault": fault,
            }
        )
    return made


def build(args: argparse.Namespace) -> Progress:
    """Embeds until three quarters of `args.minutes` are spent, trains, writes the assets."""
    start(args)
    clip = load_clip(str(args.out / "clip"))
    began = time.perf_counter()
    vectors, rated, labels, faulty = [], [], [], []
    index = 0
    while time.perf_counter() - began < 0.75 * 60 * args.minutes:
        level: Level = "full" if index // 64 % 3 == 2 else "core"
        rows = pictures(SEED, index, 64, level)
        vectors.append(clip.images([row["image"] for row in rows]))
        rated += [row["rated"] for row in rows]
        labels += [[PLANTED.get(row["fault"]) == name for name in HEADS] for row in rows]
        faulty += [bool(row["fault"]) for row in rows]
        index += 64
        if index % 1024 == 0:
            say(f"heads: {index} pictures, {(time.perf_counter() - began) / 60:.1f} min")
    x = torch.from_numpy(np.concatenate(vectors))
    rating = torch.tensor(rated)
    clean = ~torch.tensor(faulty)
    truth = torch.tensor(labels, dtype=torch.float32)
    heads = nn.ModuleDict()
    for number, (name, kind) in enumerate(HEADS.items()):
        head = nn.Sequential(nn.Linear(x.shape[1], HIDDEN), nn.GELU("tanh"), nn.Linear(HIDDEN, 1))
        nn.init.normal_(head[0].weight, std=1.0)  # the components of a unit vector are small
        optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.01)
        value = kind == "value"
        if value:
            head[2].bias.data.fill_(float(rating[clean].mean()))
        rows = torch.nonzero(clean)[:, 0] if value else torch.arange(len(x))
        for step in range(STEPS):
            for group in optimizer.param_groups:
                group["lr"] = 3e-3 * (1 - step / STEPS)
            pick = rows[torch.randint(len(rows), (512,))]
            out = head(x[pick])[:, 0]
            loss = (
                F.mse_loss(out, rating[pick])
                if value
                else F.binary_cross_entropy_with_logits(out, truth[pick, number])
            )
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        say(f"heads: {name} loss {loss.item():.4f}")
        heads[name] = head
    out_folder = args.out / NAME
    out_folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {k: v.contiguous() for k, v in heads.state_dict().items()}, out_folder / "heads.safetensors"
    )
    model = resolve_model(str(args.out / "clip"), None, CLIP)
    described = {
        "model": "nano",
        "revision": model.revision,
        "heads": HEADS,
        "pictures": index,
    }
    (out_folder / "heads.json").write_text(json.dumps(described, indent=2) + "\n")
    return Progress(STEPS, time.perf_counter() - began, float(loss))
