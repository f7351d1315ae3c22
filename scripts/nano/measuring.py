"""Pictures to measure with, as the line meets them; cards."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from nucleus_data.pixels import open_picture
from nucleus_data.world.plan import WorldPlan, WorldSettings
from nucleus_data.world.scenes import Level, Scene, scene
from nucleus_data.world.write import make
from scripts.nano.training import CARD, HELD_OUT_SEED


@dataclass(frozen=True)
class HeldOut:
    """A picture that no model was trained on.

    Attributes:
        facts: Its truth.
        image: RGB, decoded from the file that the world writes.
    """

    facts: Scene
    image: Image.Image


def held_out(count: int, level: Level, seed: int = HELD_OUT_SEED) -> list[HeldOut]:
    """The first clean pictures of a world that no model was trained on, of that kept for cards."""
    plan = WorldPlan(WorldSettings(count, seed, level, fault_share=0))
    return [
        HeldOut(
            scene(seed, line.scene, level),
            Image.fromarray(np.asarray(open_picture(make(plan, line)[0]).rgb())),
        )
        for line in plan
    ]


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Share of pairs whose positive is higher (Mann and Whitney 1947); ties count half."""
    order = np.concatenate([positive, negative]).argsort(kind="stable")
    values = np.concatenate([positive, negative])[order]
    ranks = np.empty(len(order))
    starts = np.flatnonzero(np.r_[True, np.diff(values) > 0])
    ends = np.r_[starts[1:], len(values)]
    for first, last in zip(starts, ends, strict=True):
        ranks[order[first:last]] = (first + last + 1) / 2
    count = len(positive)
    return float((ranks[:count].sum() - count * (count + 1) / 2) / (count * len(negative)))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, of values without ties."""
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def precision_at_recall(scores: np.ndarray, truth: np.ndarray, recall: float) -> float:
    """Precision at the highest threshold that finds this share of the true ones."""
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(truth[order])
    last = int(np.searchsorted(found, recall * truth.sum()))
    return float(found[last] / (last + 1))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """In dB, of pictures on the scale of 0 to 255."""
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-9)))


def trained(folder: Path) -> str:
    """How the model was trained, as the build script noted it."""
    return str(yaml.safe_load((folder / CARD).read_text())["trained"])


def write_card(
    folder: Path, text: str, figures: Mapping[str, float], revision: str | None = None
) -> None:
    """Writes the card beside the weights, and the figures (on core) for programs.

    Args:
        folder: The model's.
        text: The card.
        figures: What was measured.
        revision: Of the weights that were measured.
    """
    (folder / "README.md").write_text(text)
    rounded = {key: round(float(value), 5) for key, value in figures.items()}
    card = {"trained": trained(folder), "measured": rounded}
    card |= {"revision": revision} if revision else {}
    (folder / CARD).write_text(yaml.safe_dump(card, sort_keys=False, width=1000))


def table(rows: Mapping[str, tuple[float, float, str]]) -> str:
    """Markdown: what, on core, on full, the bar (which holds on core)."""
    lines = ["| what | core | full | bar |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {core:.4g} | {full:.4g} | {bar} |" for name, (core, full, bar) in rows.items()
    ]
    return "\n".join(lines)
