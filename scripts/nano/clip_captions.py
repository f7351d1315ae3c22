"""The last part of the CLIP's training: one scale of cosine for captions of every style.

What the first two parts teach tells captions of one style apart; the cosine of a true "red ring and
blue square" was then no higher than that of a sentence with a wrong fact, and what is true in
another language was near nothing. Here the image tower stays as it is, so that pictures need to be
embedded only once and the heads on it stay right; the text tower learns from captions of all
styles, each beside its own with one fact changed. Three losses: contrast over the batch; a sigmoid
on single pairs (Zhai et al. 2023); and the logistic loss over all pairs of a true and a false
caption of whatever picture and style, which bounds 1 - AUC from above (Gao and Zhou 2015, "On the
Consistency of AUC Pairwise Optimization").
"""

import argparse
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from nucleus_data.world.alt_texts import ALT_KINDS, LANGUAGES, with_a_mistake
from nucleus_data.world.scenes import Level, Scene, scene
from nucleus_data.world.words import captions, colored, listed
from scripts.nano.heads import pictures
from scripts.nano.training import SEEDS, say, train

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NAME = "clip-captions"
SEED = SEEDS["clip"]
PICTURES, EMBEDDED_AT_ONCE = 9216, 64
SCENES, STYLES_EACH = 64, 2
RATE = 1e-3
# As alt texts have them; the longer ones, so that they stay what they are.
SHARES = {
    "terse": 0.32,
    "short": 0.3,
    "other_language": 0.14,
    "very_short": 0.06,
    "tags": 0.06,
    "medium": 0.07,
    "long": 0.05,
}
NOTHING = ("generic", "file_name")  # what tells of no picture in particular
NOTHING_SHARE = 0.25  # of a batch's pictures
STEEPNESS = 40.0  # of the loss over pairs: 0.1 of cosine apart is nearly all there is to gain
CONTRAST, SIGMOID, RANKED = 0.25, 1.0, 2.0


@dataclass(frozen=True)
class Said:
    """A text, and what it claims: texts of like claims are true of the same pictures.

    Attributes:
        text: The caption.
        claim: Compared with `claims`; empty if it tells nothing.
    """

    text: str
    claim: str


def said(facts: Scene, style: str, language: int) -> Said:
    """A scene in a style of `SHARES`, with what that tells of it.

    Args:
        facts: The scene, or one that is nearly it.
        style: A key of `SHARES`.
        language: Which of `LANGUAGES`, where the style asks for one.
    """
    names = listed([colored(s) for s in facts.shapes])
    if style == "terse":
        return Said(names, names)
    if style == "other_language":
        words = list(LANGUAGES.values())[language]
        told = [f"{words[s.kind]} {words[s.color]}" for s in facts.shapes]
        return Said(f" {words['and']} ".join(told), names)
    text = captions(facts)[style]
    return Said(text, names if style == "very_short" else text)


def claims(facts: Scene) -> set[str]:
    """Every claim that is true of a scene."""
    return {said(facts, style, 0).claim for style in SHARES}


class CaptionBatcher:
    """Batches of image vectors and texts.

    Args:
        tokenizer: The CLIP's.
        vectors: Unit image vectors, the row the number of the scene.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", vectors: np.ndarray) -> None:
        self.tokenizer, self.vectors = tokenizer, vectors

    def __call__(self, step: int) -> dict[str, torch.Tensor]:
        """`images` (B, D), `ids` (T, L), `own` (T,): the picture of a text, `right` (B, T).

        The first `STYLES_EACH * SCENES` texts are true, as many nearly so, the rest tells nothing.
        """
        rng = np.random.default_rng([SEED, step, 12])
        numbers = rng.choice(len(self.vectors), SCENES, replace=False)
        scenes = [scene(SEED, int(number), level_of(int(number))) for number in numbers]
        true, wrong, own = [], [], []
        for place, facts in enumerate(scenes):
            styles = rng.choice(list(SHARES), STYLES_EACH, replace=False, p=list(SHARES.values()))
            for style in map(str, styles):
                language = int(rng.integers(len(LANGUAGES)))
                good = bad = said(facts, style, language)
                while bad.claim == good.claim:  # a terse caption tells no background
                    bad = said(with_a_mistake(facts, rng), style, language)
                true.append(good)
                wrong.append(bad)
                own.append(place)
        count = round(NOTHING_SHARE * SCENES)
        nothing = [
            Said(ALT_KINDS[NOTHING[i % len(NOTHING)]](scenes[i], rng), "") for i in range(count)
        ]
        texts = [*true, *wrong, *nothing]
        told = [claims(facts) for facts in scenes]
        right = np.array([[text.claim in claim for text in texts] for claim in told])
        ids = self.tokenizer([text.text for text in texts], padding=True, return_tensors="pt")
        return {
            "images": torch.from_numpy(self.vectors[numbers]),
            "ids": ids["input_ids"],
            "own": torch.tensor([*own, *own, *range(count)]),
            "right": torch.from_numpy(right.astype(np.float32)),
        }


class TextTower(nn.Module):
    """The text side of a model with what is asked of it."""

    def __init__(self, model: Any, encode: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.token_embedding = model.token_embedding
        self.positional_embedding = model.positional_embedding
        self.transformer, self.ln_final = model.transformer, model.ln_final
        self.text_projection = model.text_projection
        self.logit_scale = model.logit_scale
        self.register_buffer("attn_mask", model.attn_mask, persistent=False)
        self.scale = nn.Parameter(torch.tensor(math.log(20.0)))
        self.bias = nn.Parameter(torch.tensor(-8.0))
        self.encode = encode

    def match(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        """Pictures against true, nearly true and empty captions."""
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            text = self.encode(self, batch["ids"])
        cosine, right, own = batch["images"] @ text.float().T, batch["right"], batch["own"]
        true = STYLES_EACH * len(cosine)
        logits = self.logit_scale.exp().clamp(max=60) * cosine
        contrast = _contrast(logits, right) + _contrast(logits[:, :true].T, right[:, :true].T)
        each = F.binary_cross_entropy_with_logits(
            self.scale.exp() * cosine + self.bias, right, reduction="none"
        )
        places = torch.arange(len(own))
        sigmoid = each[own[:true], places[:true]].mean() + each[own[true:], places[true:]].mean()
        sigmoid = sigmoid + each[right == 0].mean()
        # Of every picture: its true captions, its nearly true ones, an empty one, a stranger's.
        own_cosine = cosine[own, places]
        stranger = cosine[(own[: true // 2] + 1) % len(cosine), places[: true // 2]]
        is_false = right[(own[: true // 2] + 1) % len(cosine), places[: true // 2]] == 0
        false = torch.cat([own_cosine[true:], stranger[is_false]])
        apart = own_cosine[:true, None] - false
        ranked = F.softplus(-STEEPNESS * apart).mean()
        loss = CONTRAST * contrast + SIGMOID * sigmoid + RANKED * ranked
        return loss, {
            "contrast": contrast.item() / 2,
            "sigmoid": sigmoid.item(),
            "ranked": ranked.item(),
            "auc": (apart > 0).float().mean().item(),
            "nearly": (apart[:, :true] > 0).float().mean().item(),
        }


def _contrast(logits: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """InfoNCE where more than one answer may be right."""
    answers = logits.masked_fill(right == 0, -math.inf).logsumexp(1)
    return (logits.logsumexp(1) - answers).mean()


def level_of(number: int) -> Level:
    """A third of the pictures is of `full`."""
    return "full" if number // EMBEDDED_AT_ONCE % 3 == 2 else "core"


def image_vectors(model: Any, transform: Any, args: argparse.Namespace) -> tuple[np.ndarray, float]:
    """The pictures' unit vectors, and the CPU-seconds that they took; kept in `args.work`."""
    tower = hashlib.sha256(model.visual.proj.detach().numpy().tobytes()).hexdigest()[:12]
    file = args.work / f"{NAME}-{tower}.npz"
    vectors: list[np.ndarray] = []
    spent = 0.0
    if file.exists():
        found = np.load(file)
        vectors, spent = list(found["vectors"]), float(found["spent"])
    while len(vectors) < PICTURES:
        began = time.process_time()
        for _ in range(16):
            first = len(vectors)
            made = pictures(SEED, first, EMBEDDED_AT_ONCE, level_of(first))
            with torch.inference_mode():
                batch = transform([row["image"] for row in made])
                vectors += list(model.encode_image(batch, normalize=True).numpy())
        spent += time.process_time() - began
        np.savez(file.with_suffix(".tmp.npz"), vectors=np.stack(vectors), spent=np.array(spent))
        file.with_suffix(".tmp.npz").replace(file)
        say(f"{NAME}: {len(vectors)} pictures, {spent / 60:.1f} min")
    return np.stack(vectors), spent


def train_captions(
    model: Any,
    tokenizer: "PreTrainedTokenizerFast",
    transform: Callable[[Any], torch.Tensor],
    encode: Callable[[Any, torch.Tensor], torch.Tensor],
    args: argparse.Namespace,
    minutes: float,
) -> str:
    """Trains the text tower; the image tower is only rounded, as the shipped one is.

    Args:
        model: The whole CLIP, changed in place.
        tokenizer: Its tokenizer.
        transform: Pictures to what its image tower takes.
        encode: Texts' ids to unit vectors.
        args: `work`.
        minutes: CPU time of this part, the embedding of pictures included.

    Returns:
        For the card.
    """
    model.visual.to(torch.bfloat16).float()
    model.eval()
    vectors, spent = image_vectors(model, transform, args)
    rest = argparse.Namespace(work=args.work, minutes=minutes - spent / 60)
    maker = CaptionBatcher(tokenizer, vectors)
    tower = TextTower(model, encode)
    at = train(NAME, tower, maker, tower.match, rest, rate=RATE)
    return (
        f"the text tower alone, {len(vectors):,} pictures embedded in {spent / 60:.1f} "
        f"CPU-minutes and {at}"
    )
