"""Heads on the frozen embedding of the nano CLIP: pleasantness, unsafe, and text laid over.

Each is two linear layers, the mean of several that were trained apart. Pleasantness learns from
noisy ratings (three raters a picture, as real ones come), the other two from planted faults.
Embedding the pictures takes most of the minutes; they are painted, encoded as files and decoded
again, as the line does it.
"""

import argparse
import io
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from nucleus_data.engines.clip import load_clip
from nucleus_data.engines.find import CLIP, resolve_model
from nucleus_data.world.alterations import FAULTS
from nucleus_data.world.files import encoded
from nucleus_data.world.painting import render
from nucleus_data.world.rating import pleasantness, ratings
from nucleus_data.world.scenes import Level, scene
from scripts.nano.training import ASSETS, CARD, SEEDS, say, start

NAME = "heads"
SEED = SEEDS[NAME]
FOLDER = ASSETS / NAME
HEADS = {"pleasantness": "value", "unsafe": "probability", "overlaid_text": "probability"}
PLANTED = {"unsafe": "unsafe", "watermarked": "overlaid_text", "dense_text": "overlaid_text"}
RATE, SCENES = 3e-3, 64
WEIGHT_DECAY, INIT_STD = 0.01, 0.3
FAULT_SHARE = 0.4
HIDDEN, MEMBERS = 256, 3
STEPS = 12_000
SAVE_EVERY = 16
ON = "; on the vectors of the CLIP"


def pictures(seed: int, first: int, count: int, level: Level) -> list[dict[str, Any]]:
    """Pictures as the line decodes them, with what is true of each.

    Returns:
        `image`, `pleasantness`, `rated` (mean of three raters), `fault` (or empty), `strength`.
    """
    made = []
    for index in range(first, first + count):
        rng = np.random.default_rng([seed, index, 10])
        facts = scene(seed, index, level)
        side, aspect = rng.uniform(200, 380), 2 ** rng.uniform(-1, 1)
        picture = render(facts, round(side * math.sqrt(aspect)), round(side / math.sqrt(aspect)))
        fault = str(rng.choice(list(PLANTED))) if rng.random() < FAULT_SHARE else ""
        strength = int(rng.integers(3)) if fault else 0
        if fault:
            picture = FAULTS[fault](picture, strength, rng)
        data = encoded(picture, "JPEG", int(rng.integers(75, 96)))
        made.append(
            {
                "image": Image.open(io.BytesIO(data)).convert("RGB"),
                "pleasantness": pleasantness(facts),
                "rated": float(np.mean(ratings(facts))),
                "fault": fault,
                "strength": strength,
            }
        )
    return made


def build(args: argparse.Namespace) -> str:
    """Embeds until nine tenths of `args.minutes` are spent, trains, writes the assets."""
    start(args)
    data = _embedded(args)
    began = time.process_time()
    heads = nn.ModuleDict()
    x, clean = torch.from_numpy(data["vectors"]), data["fault"] == ""
    for name, kind in HEADS.items():
        if kind == "value":
            head = _trained(x[clean], torch.from_numpy(data["rated"][clean]), F.mse_loss)
        else:
            truth = np.array([PLANTED.get(fault) == name for fault in data["fault"]])
            target = torch.from_numpy(truth.astype(np.float32))
            head = _trained(x, target, F.binary_cross_entropy_with_logits)
        heads[name] = head
        say(f"heads: {name} trained, {(time.process_time() - began) / 60:.1f} min")
    folder = args.out / NAME
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k: v.contiguous() for k, v in heads.state_dict().items()}
    save_file(weights, folder / "heads.safetensors")
    model = resolve_model(str(args.out / "clip"), None, CLIP)
    described = {"model": "nano", "revision": model.revision, "heads": HEADS, "pictures": len(x)}
    (folder / "heads.json").write_text(json.dumps(described, indent=2) + "\n")
    minutes = (float(data["spent"]) + time.process_time() - began) / 60
    return f"{len(x):,} pictures and {STEPS:,} steps a member in {minutes:.1f} CPU-minutes"


def follow(folder: Path, before: str, after: str) -> None:
    """Heads go on with a CLIP whose image tower is the same bits, and whose text tower is not.

    Args:
        folder: The heads'; left alone unless they are those of `before`.
        before: The CLIP's revision that they were trained on.
        after: The new one.
    """
    file, card = folder / "heads.json", folder / CARD
    if not file.exists() or json.loads(file.read_text())["revision"] != before:
        return
    described = json.loads(file.read_text()) | {"revision": after}
    file.write_text(json.dumps(described, indent=2) + "\n")
    whole = yaml.safe_load(card.read_text())
    old = whole["trained"]
    said, _, rest = old.removesuffix(".").partition(ON)
    first = rest.split(";")[0].strip() or before
    whole["trained"] = f"{said}{ON} {first}; the image tower of {after} is the same bits."
    card.write_text(yaml.safe_dump(whole, sort_keys=False, width=1000))
    readme = folder / "README.md"  # its figures are of the same vectors
    readme.write_text(readme.read_text().replace(old, whole["trained"]))


def _embedded(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Vectors of pictures and what is true of them; goes on where an earlier run stopped."""
    clip = load_clip(str(args.out / "clip"))
    revision = resolve_model(str(args.out / "clip"), None, CLIP).revision
    file = args.work / f"{NAME}-{revision}.npz"
    data: dict[str, np.ndarray] = {}
    if file.exists():
        data = dict(np.load(file))
        say(f"heads: goes on from {len(data['rated'])} pictures")
    vectors = list(data.get("vectors", []))
    rated, faults = list(data.get("rated", [])), list(data.get("fault", []))
    spent = float(data.get("spent", 0.0))
    while not data or spent < 0.9 * 60 * args.minutes:
        for _ in range(SAVE_EVERY):
            began = time.process_time()
            index = len(rated)
            level: Level = "full" if index // SCENES % 3 == 2 else "core"
            rows = pictures(SEED, index, SCENES, level)
            vectors += list(clip.images([row["image"] for row in rows]))
            rated += [np.float32(row["rated"]) for row in rows]
            faults += [row["fault"] for row in rows]
            spent += time.process_time() - began
        data = {"vectors": np.stack(vectors), "rated": np.array(rated, np.float32)}
        data |= {"fault": np.array(faults), "spent": np.array(spent)}
        np.savez(file.with_suffix(".tmp.npz"), **data)  # type: ignore[arg-type]
        file.with_suffix(".tmp.npz").replace(file)
        say(f"heads: {len(rated)} pictures, {spent / 60:.1f} min")
    return data


def _trained(x: torch.Tensor, target: torch.Tensor, loss_of: Any) -> nn.Sequential:
    """A head whose hidden units are those of some that were trained apart; it gives their mean."""
    members = []
    for _ in range(MEMBERS):
        head = nn.Sequential(nn.Linear(x.shape[1], HIDDEN), nn.GELU("tanh"), nn.Linear(HIDDEN, 1))
        nn.init.normal_(head[0].weight, std=INIT_STD)
        if loss_of is F.mse_loss:
            head[2].bias.data.fill_(float(target.mean()))
        optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
        for step in range(STEPS):
            for group in optimizer.param_groups:
                group["lr"] = RATE * (1 - step / STEPS)
            pick = torch.randint(len(x), (512,))
            loss = loss_of(head(x[pick])[:, 0], target[pick])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        members.append(head)
    whole = nn.Sequential(nn.Linear(x.shape[1], MEMBERS * HIDDEN), nn.GELU("tanh"), nn.Linear(1, 1))
    with torch.no_grad():
        whole[0].weight.copy_(torch.cat([m[0].weight for m in members]))
        whole[0].bias.copy_(torch.cat([m[0].bias for m in members]))
        whole[2].weight = nn.Parameter(torch.cat([m[2].weight for m in members], 1) / MEMBERS)
        whole[2].bias.copy_(torch.stack([m[2].bias for m in members]).mean(0))
    return whole
