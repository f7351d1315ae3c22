"""What the trainings share: a restartable loop, batches from another process, cards."""

import argparse
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from scripts.nano.conv_muon import ConvMuon

ASSETS = Path(__file__).resolve().parents[2] / "nucleus_data" / "engines" / "assets"
# Worlds that a model was trained on, chosen with, and measured on; no two models share the first.
SEEDS = {"captioner": 77_000, "clip": 78_000, "heads": 79_000, "vae": 80_000}
CHOSEN_SEED, HELD_OUT_SEED = 90_000, 91_000
CARD = "card.yaml"  # beside the weights, and no part of what identifies a model
SAVE_EVERY_S = 60.0
SAY_EVERY = 50
WARM_UP_STEPS = 100
COOL_DOWN = 0.35

# Embeddings and last layers, which AdamW suits better.
NOT_MUON = ("embed", "heads", "side", "projection", "time_conv")

MakeBatch = Callable[[int], dict[str, torch.Tensor]]
Loss = Callable[[dict[str, torch.Tensor]], tuple[torch.Tensor, dict[str, float]]]


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        step: Steps taken.
        spent: CPU seconds of the training process, earlier runs included; on idle cores these are
            the seconds that it takes.
        loss: Running mean.
    """

    step: int = 0
    spent: float = 0.0
    loss: float = math.nan

    def __str__(self) -> str:
        """For a card."""
        minutes = f"{self.spent / 60:.1f} CPU-minutes"
        return f"{self.step:,} steps in {minutes}, loss {self.loss:.4f} at the end"


class Batches(IterableDataset[dict[str, torch.Tensor]]):
    """Batch number `start`, `start + 1` and so on; each a function of its number alone."""

    def __init__(self, make: MakeBatch, start: int) -> None:
        self.make, self.start = make, start

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yields batches without an end."""
        torch.set_num_threads(1)
        step = self.start
        while True:
            yield self.make(step)
            step += 1


def train(
    name: str,
    model: nn.Module,
    make: MakeBatch,
    loss_of: Loss,
    args: argparse.Namespace,
    *,
    rate: float,
    weight_decay: float = 0.05,
) -> Progress:
    """Trains until `args.minutes` are spent, from the last checkpoint if there is one.

    The learning rate warms up, stays, and falls to zero over the last third of the minutes, so a
    training that is given more minutes goes on where the first left off.

    Args:
        name: Name of the checkpoint.
        model: All that is trained, with heads that are not shipped.
        make: Batch by its number; runs in a process of its own.
        loss_of: Batch to a loss and to figures that are worth printing.
        args: `minutes` and `work`.
        rate: Highest learning rate.
        weight_decay: What parameters with two dimensions or more get.
    """
    optimizers = _optimizers(model, rate, weight_decay)
    at = Progress()
    checkpoint = args.work / f"{name}.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["weights"])
        for optimizer, saved_state in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved_state)
        at = Progress(state["step"], state["spent"], state["loss"])
        say(f"{name}: goes on from step {at.step}, {at.spent / 60:.1f} minutes")
    total = sum(p.numel() for p in model.parameters())
    say(f"{name}: {total / 1e6:.2f} M parameters in training")

    def save() -> None:
        state = {
            "weights": model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        }
        state |= {"step": at.step, "spent": at.spent, "loss": at.loss}
        torch.save(state, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").replace(checkpoint)

    budget = args.minutes * 60
    if at.spent >= budget:
        return at
    loader = DataLoader(Batches(make, at.step), batch_size=None, num_workers=1, prefetch_factor=4)
    batches, saved = iter(loader), at.spent
    model.train()
    while at.spent < budget:
        began = time.process_time()
        share = min((at.step + 1) / WARM_UP_STEPS, (1 - at.spent / budget) / COOL_DOWN, 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * max(share, 0.005)
        batch = next(batches)
        loss, figures = loss_of(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        value = loss.item()
        if not math.isfinite(value):
            raise RuntimeError(f"{name}: the loss is {value} at step {at.step}")
        at.step += 1
        at.loss = value if math.isnan(at.loss) else 0.98 * at.loss + 0.02 * value
        at.spent += time.process_time() - began
        if at.step % SAY_EVERY == 0:
            told = "  ".join(f"{key} {figure:.4f}" for key, figure in figures.items())
            say(f"{name}: step {at.step}  {at.spent / 60:.2f} min  loss {at.loss:.4f}  {told}")
        if at.spent - saved > SAVE_EVERY_S:
            save()
            saved = at.spent
    save()
    model.eval()
    return at


def first_part(name: str, args: argparse.Namespace, run: Callable[[], Progress]) -> Progress:
    """Runs the first part of a training, unless the second one has begun.

    Args:
        name: Name of the second part; the first is `NAME-vision`.
        args: `work`.
        run: Trains the first part.
    """
    if not (args.work / f"{name}.pt").exists():
        return run()
    state = torch.load(args.work / f"{name}-vision.pt", weights_only=True)
    return Progress(state["step"], state["spent"], state["loss"])


def _optimizers(model: nn.Module, rate: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices between layers, AdamW for everything else.

    Muon (Jordan et al. 2024) with updates scaled to AdamW's size (Liu et al. 2025, "Muon is
    Scalable for LLM Training"), so that one learning rate serves both.
    """
    matrices, convolutions, rest = [], [], []
    for name, parameter in model.named_parameters():
        inner = not any(part in name for part in NOT_MUON)
        kind = matrices if parameter.ndim == 2 and inner else rest
        if parameter.ndim >= 4 and inner and min(parameter.shape[:2]) >= 8:
            kind = convolutions
        kind.append(parameter)
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
    ]
    if matrices:
        muon = torch.optim.Muon(
            matrices, lr=rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        optimizers.append(muon)
    if convolutions:
        optimizers.append(ConvMuon(convolutions, lr=rate))
    return optimizers


def start(args: argparse.Namespace) -> None:
    """One thread, fixed seeds, the working folder."""
    torch.set_num_threads(int(os.environ.get("NUCLEUS_THREADS", "1")))
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    args.work.mkdir(parents=True, exist_ok=True)


def say(line: str) -> None:
    """Progress."""
    print(line, flush=True)


def init_small(model: nn.Module, keep: tuple[str, ...] = ()) -> None:
    """Scales initial weights by their width.

    The usual 0.02 suits wide layers; at a width of 100 it drowns the positions in the patches' own
    values, and the gradients of narrow layers vanish.
    """
    for name, parameter in model.named_parameters():
        if any(part in name for part in keep):
            continue
        if "pos_embed" in name or "positional_embedding" in name:
            nn.init.normal_(parameter, std=0.5)
        elif parameter.ndim >= 2:
            nn.init.normal_(parameter, std=0.7 / math.sqrt(parameter[0].numel()))
