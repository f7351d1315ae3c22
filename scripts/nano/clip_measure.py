"""How well the nano CLIP matches, and how right the heads on it are."""

import argparse

import numpy as np

from nucleus_data.engines.clip import Clip, load_clip
from nucleus_data.engines.find import CLIP, resolve_model
from nucleus_data.engines.heads import load_heads
from nucleus_data.world.alt_texts import with_a_mistake
from nucleus_data.world.scenes import LEVELS, Level
from nucleus_data.world.words import captions
from scripts.nano.heads import PLANTED, pictures
from scripts.nano.measuring import (
    auc,
    held_out,
    precision_at_recall,
    rank_correlation,
    table,
    trained,
    write_card,
)
from scripts.nano.poor_captions import POOR, TRUE, Captioned, captioned, poor_figures
from scripts.nano.training import HELD_OUT_SEED, say

COUNT = 1000
CHOICES = 100
HEAD_PICTURES = 2000
RECALL = 0.9
BARS = {
    "image_to_text": 0.95,
    "text_to_image": 0.95,
    "auc_wrong": 0.99,
    "auc_one_fact": 0.93,
    "auc_poor": 0.97,
}
POOR_COUNT, POOR_SEEDS = 400, (HELD_OUT_SEED + 1, HELD_OUT_SEED + 2)
HEAD_BARS = {"pleasantness_rank": 0.90, "unsafe_precision": 0.98, "overlaid_text_precision": 0.98}


def clip_figures(clip: Clip, count: int, level: Level) -> dict[str, float]:
    """Retrieval at 1 of 100 and areas under the curve, on short captions of held-out pictures."""
    rows = held_out(count, level)
    rng = np.random.default_rng([HELD_OUT_SEED, 11])
    images = clip.images([row.image for row in rows])
    true = clip.texts([captions(row.facts)["short"] for row in rows])
    nearly = clip.texts([captions(with_a_mistake(row.facts, rng))["short"] for row in rows])
    right = {"image_to_text": 0.0, "text_to_image": 0.0}
    for start in range(0, count, CHOICES):
        cosine = images[start : start + CHOICES] @ true[start : start + CHOICES].T
        here = np.arange(len(cosine))
        right["image_to_text"] += float((cosine.argmax(1) == here).sum()) / count
        right["text_to_image"] += float((cosine.argmax(0) == here).sum()) / count
    own = (images * true).sum(1)
    return {
        **right,
        "auc_wrong": auc(own, (images * np.roll(true, 1, axis=0)).sum(1)),
        "auc_one_fact": auc(own, (images * nearly).sum(1)),
    }


def poor_rows(count: int, level: Level) -> list[Captioned]:
    """Pictures with the captions that came with them, of worlds that are kept for measuring."""
    return [row for seed in POOR_SEEDS for row in captioned(count, seed, level)]


def head_figures(clip: Clip, folder: str, count: int, level: Level) -> dict[str, float]:
    """Rank correlation with the noiseless rating; precision at recall 0.9 of the others.

    The faults are those of middle and high strength; `..._low` is the share of low ones that a
    threshold at that recall finds.
    """
    rows = pictures(HELD_OUT_SEED, 0, count, level)
    scores = load_heads(folder).scores(clip.images([row["image"] for row in rows]))
    clean = np.array([not row["fault"] for row in rows])
    rating = np.array([row["pleasantness"] for row in rows])
    figures = {"pleasantness_rank": rank_correlation(scores["pleasantness"][clean], rating[clean])}
    low = ~clean & (np.array([row["strength"] for row in rows]) == 0)
    for name in ("unsafe", "overlaid_text"):
        truth = np.array([PLANTED.get(row["fault"]) == name for row in rows])
        score = scores[name]
        figures[f"{name}_precision"] = precision_at_recall(score[~low], truth[~low], RECALL)
        threshold = np.quantile(score[truth & ~low], 1 - RECALL)
        figures[f"{name}_low"] = float((score[truth & low] >= threshold).mean())
    return figures


CLIP_CARD = """# nano CLIP

An open_clip model (image tower 112 x 112 pixels, whole picture squashed; text tower with a
tokenizer of its own; {width} numbers a vector), trained from nothing on scenes of
`nucleus_data.world` and on nothing else. **Its scores of real pictures mean nothing.**

- Made by `python scripts/build_nano_models.py clip`: {trained}
- Measured by `python scripts/build_nano_models.py clip --measure`: {count} clean pictures a level
  of world {held_out}, with their short captions. Retrieval picks 1 of {choices}; `auc_wrong` is
  against another picture's caption, `auc_one_fact` against its own with one fact changed. Bars hold
  on core.
- `auc_poor`: the captions that came with the pictures of two demos (`nucleus demo`), worlds
  {poor}, {poor_count} pictures each with the demo's faults, of all that can be read: the true
  ones ({true}) against the poor ones
  ({kinds}). `auc_poor_kept` leaves out the
  pictures that a rule is there to reject, blank and blurred ones for example. `auc_poor_KIND` is of
  all true ones against the poor ones of a kind, `auc_true_KIND` of the true ones of a kind against
  all poor ones.

{table}

What is true in another language counts as true; whether its language is the wanted one, a cosine
does not tell. The image tower was also asked, with a small weight, for pleasantness and planted
faults while it trained. Weights are bfloat16. Licence: as the package.
"""
HEADS_CARD = """# nano heads

Three small networks on the nano CLIP's image embedding: `pleasantness` (1 to 10, the rule of
`nucleus_data.world.rating`, learned from noisy ratings), `unsafe` (the stand-in class of the world:
a striped octagon) and `overlaid_text` (watermarks and dense text). **They mean nothing on real
pictures.**

- Made by `python scripts/build_nano_models.py heads`: {trained}
- Measured by `python scripts/build_nano_models.py heads --measure`: {count} pictures a level of
  world {held_out}, two in five with a planted fault. Rank correlation (Spearman) is with the rating
  without noise, on clean pictures; precision is at recall 0.9, of faults of middle and high
  strength; `_low` is the share of those of low strength (a watermark of 25 % white) that a
  threshold at that recall finds. Bars hold on core.

{table}

Licence: as the package.
"""


def _rows(
    by_level: dict[Level, dict[str, float]], bars: dict[str, float]
) -> dict[str, tuple[float, float, str]]:
    names = [*bars, *(name for name in by_level["core"] if name not in bars)]
    said = {name: f">= {bar}" for name, bar in bars.items()}
    return {
        name: (by_level["core"][name], by_level["full"][name], said.get(name, "")) for name in names
    }


def measure_clip(args: argparse.Namespace) -> dict[str, float]:
    """Measures the CLIP in `args.out`, and writes its card."""
    folder = args.out / "clip"
    clip = load_clip(str(folder))
    by_level = {
        level: clip_figures(clip, COUNT, level) | poor_figures(clip, poor_rows(POOR_COUNT, level))
        for level in LEVELS
    }
    say(f"clip: {by_level}")
    text = CLIP_CARD.format(
        width=clip.width,
        trained=trained(folder),
        count=COUNT,
        held_out=HELD_OUT_SEED,
        choices=CHOICES,
        poor=" and ".join(map(str, POOR_SEEDS)),
        poor_count=POOR_COUNT,
        true=", ".join(TRUE),
        kinds=", ".join(POOR),
        table=table(_rows(by_level, BARS)),
    )
    write_card(folder, text, by_level["core"], resolve_model(str(folder), None, CLIP).revision)
    return by_level["core"]


def measure_heads(args: argparse.Namespace) -> dict[str, float]:
    """Measures the heads in `args.out`, and writes their card."""
    folder = args.out / "heads"
    clip = load_clip(str(args.out / "clip"))
    by_level = {level: head_figures(clip, str(folder), HEAD_PICTURES, level) for level in LEVELS}
    say(f"heads: {by_level}")
    text = HEADS_CARD.format(
        trained=trained(folder),
        count=HEAD_PICTURES,
        held_out=HELD_OUT_SEED,
        table=table(_rows(by_level, HEAD_BARS)),
    )
    write_card(folder, text, by_level["core"])
    return by_level["core"]
