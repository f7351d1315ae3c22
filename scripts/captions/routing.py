"""Captions of which a known share is right, and how well a similarity routes them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nucleus_data.engines.agreement import wilson
from nucleus_data.views.calibrate import THRESHOLDS
from nucleus_data.world.alt_texts import alt_text, with_a_mistake
from nucleus_data.world.caption_scoring import score_caption
from nucleus_data.world.scenes import Scene
from nucleus_data.world.words import captions
from scripts.nano.measuring import auc

KINDS = {"right": 0.4, "one mistake": 0.2, "mostly wrong": 0.2, "another picture's": 0.2}
HALF = 0.5
NEAR_HALF = 0.1  # so near, a share is of one or two facts, and its side hangs on how they count
ROUTES = ("preserve", "refine", "synthesize")


@dataclass(frozen=True)
class Captioned:
    """A picture's caption that came with it.

    Attributes:
        facts: The picture's truth.
        kind: Of `KINDS`.
        text: The caption.
        share: How much of what it tells is right; an invented object is one wrong thing.
    """

    facts: Scene
    kind: str
    text: str
    share: float

    @property
    def right(self) -> bool:
        """Whether half of it is right."""
        return self.share >= HALF


def captioned(facts: Scene) -> Captioned:
    """A caption of a drawn kind."""
    rng = np.random.default_rng([facts.seed, facts.index, 9])
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    if kind == "right":
        text = captions(facts)["short"]
    elif kind == "one mistake":
        text = captions(with_a_mistake(facts, rng))["short"]
    elif kind == "mostly wrong":
        wrong = facts
        for _ in range(200):
            wrong = with_a_mistake(wrong, rng)
            if share_right(captions(wrong)["short"], facts) < HALF:
                break
        text = captions(wrong)["short"]
    else:
        text = alt_text(facts, "other_image").text
    return Captioned(facts, kind, text, share_right(text, facts))


def share_right(text: str, facts: Scene) -> float:
    """How much of what a caption tells is right, 0 to 1."""
    score = score_caption(text, facts, "short")
    return score.right / max(score.told + score.invented, 1)


@dataclass(frozen=True)
class Judged:
    """Captions beside their calibrated similarity.

    Attributes:
        score: (N,) similarities.
        share: (N,) how much of each caption is right.
    """

    score: np.ndarray
    share: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """(N,) whether half of it is right."""
        return np.asarray(self.share >= HALF)

    def those(self, some: np.ndarray) -> "Judged":
        """Some of them."""
        return Judged(self.score[some], self.share[some])

    def taken(self, route: str, threshold: float) -> tuple[int, int, int]:
        """How many a route takes with a threshold, takes rightly, and ought to take."""
        preserved = route == "preserve"
        taken = self.score > threshold if preserved else self.score < threshold
        wanted = self.right if preserved else ~self.right
        return int(taken.sum()), int((taken & wanted).sum()), int(wanted.sum())

    def best(self, route: str) -> float:
        """The threshold at which the lower one of precision and recall is highest."""

        def lower(threshold: float) -> float:
            taken, hits, wanted = self.taken(route, threshold)
            return hits / max(taken, wanted, 1)

        return float(max(np.unique(self.score).tolist(), key=lower))


def routed(judged: Judged, chosen: Judged) -> str:
    """AUC, and each route's precision and recall, as Markdown.

    Args:
        judged: What is measured.
        chosen: Other captions, on which thresholds are chosen beside the published ones.
    """
    lines = [
        "| captions | | AUC | route | taken | precision | recall |",
        "|---|---|---|---|---|---|---|",
    ]
    parts: dict[str, Callable[[Judged], np.ndarray]] = {
        "all": lambda some: np.full(len(some.share), True),
        "without those of which exactly half is right": lambda some: some.share != HALF,
        "without those of 40 to 60 %": lambda some: abs(some.share - HALF) > NEAR_HALF,
    }
    for what, which in parts.items():
        some = judged.those(which(judged))
        told = auc(some.score[some.right], some.score[~some.right])
        for route, published in (("preserve", THRESHOLDS[1]), ("synthesize", THRESHOLDS[0])):
            thresholds = [published]
            if what == "all":
                thresholds.append(chosen.best(route))
            for threshold in thresholds:
                taken, hits, wanted = some.taken(route, threshold)
                lines.append(
                    f"| {what} | {len(some.share)} | {told:.3f} | {route}"
                    f" {'>' if route == 'preserve' else '<'} {threshold:.2f} | {taken}"
                    f" | {_share(hits, taken)} | {_share(hits, wanted)} |"
                )
    return "\n".join(lines)


def by_kind(given: Sequence[Captioned], similarities: Sequence[float]) -> str:
    """How each kind of caption is routed, and how well it is told from right ones, as Markdown."""
    score = np.array(similarities)
    low, high = THRESHOLDS
    route = np.where(score > high, "preserve", np.where(score < low, "synthesize", "refine"))
    kinds = np.array([one.kind for one in given])
    lines = [
        "| planted | captions | half right | exactly half | preserve | refine | synthesize | AUC |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for kind in KINDS:
        mine = kinds == kind
        share = np.array([one.share for one in given])[mine]
        parts = " | ".join(f"{(route[mine] == name).mean():.1%}" for name in ROUTES)
        told = "" if kind == "right" else f"{auc(score[kinds == 'right'], score[mine]):.3f}"
        lines.append(
            f"| {kind} | {mine.sum()} | {(share >= HALF).mean():.0%} | {(share == HALF).mean():.0%}"
            f" | {parts} | {told} |"
        )
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    low, high = wilson(part, whole)
    return f"{part / max(whole, 1):.3f} ({low:.3f} to {high:.3f})"
