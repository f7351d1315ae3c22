"""One optimizer step: the gradient of a batch, in pieces and over all processes.

The loss of a step is the mean over all its samples. Each piece's loss is divided by how many
samples the whole step has, so the sum of the pieces' gradients is the batch's, up to rounding, and
a sample weighs the same however it is cut. Noise and sigmas are keyed by epoch and id.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch

from nucleus_model.encoders.text import TextEncoder
from nucleus_model.network.distributed import World, whole
from nucleus_model.network.flow import draw_noise, draw_sigma, flow_loss_and_routing, grid_of
from nucleus_model.network.transformer import NucleusTransformer
from nucleus_model.settings.phases import Phase
from nucleus_model.settings.schedule import shift_mu
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.training.guards import Guard


@dataclass(frozen=True, slots=True)
class LocalBatch:
    """This process's part of a step.

    Attributes:
        draws: What noise and sigma of the B samples are drawn by, beside their ids: the epoch.
        latents_BCHW: Float32, on the CPU; B is 0 where there is nothing for this process.
        ids: Ids of the B samples.
        captions: Captions of the B samples.
        total: Samples of the step in all processes.
        pieces: Into how many pieces each process cuts its part.
        with_routing: Whether to say what the routers did.
    """

    draws: Sequence[str]
    latents_BCHW: torch.Tensor
    ids: Sequence[str]
    captions: Sequence[str]
    total: int
    pieces: int
    with_routing: bool = False


@dataclass(slots=True)
class StepResult:
    """What came of a step.

    Attributes:
        loss: Mean over the step's samples.
        grad_norm: Of the whole gradient, before clipping.
        skipped: What was odd about it, as `guards.Verdict` names it; None for nothing.
        z_loss: Sum over blocks of the router z-loss, if it has a weight.
        routing: Statistics of each router on rank 0's first piece, by the block's number.
    """

    loss: float
    grad_norm: float
    skipped: str | None
    z_loss: float | None = None
    routing: dict[int, dict[str, float]] = field(default_factory=dict)


class Stepper:
    """Takes optimizer steps.

    Args:
        model: Sharded, if there are several processes.
        optimizers: Of its parameters.
        text: The text encoder.
        settings: The run's.
        world: The processes.
        guard: Decides which steps are taken.
    """

    def __init__(
        self,
        model: NucleusTransformer,
        optimizers: Sequence[torch.optim.Optimizer],
        text: TextEncoder,
        settings: QuickTrainSettings,
        world: World,
        guard: Guard,
    ) -> None:
        self.model, self.optimizers, self.text = model, optimizers, text
        self.settings, self.world, self.guard = settings, world, guard

    def take(self, step: int, rate: float, phase: Phase, batch: LocalBatch) -> StepResult:
        """Takes one step; all processes must call.

        Args:
            step: Its number, for messages.
            rate: The learning rate.
            phase: For the timestep shift.
            batch: What this process has of it.

        Raises:
            FloatingPointError: Too many steps in a row were not taken.
        """
        self.model.zero_grad(set_to_none=True)
        loss_sum = z_sum = 0.0
        routing: dict[int, dict[str, float]] = {}
        bounds = [len(batch.ids) * n // batch.pieces for n in range(batch.pieces + 1)]
        for number in range(batch.pieces):
            # Gradients of pieces add up in each process; they are exchanged once, with the last.
            last = number == batch.pieces - 1
            if self.world.mesh is not None:
                model: Any = self.model
                model.set_requires_gradient_sync(last)
            watched = batch.with_routing and number == 0
            piece = slice(bounds[number], bounds[number + 1])
            loss, z_loss, found = self._piece(phase, batch, piece, watched)
            loss_sum, z_sum = loss_sum + loss, z_sum + z_loss
            routing = found or routing
        # Some never get one: the published files have a norm of text queries, which nothing asks.
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        norm = whole(
            torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        )
        # The guard sees sums over all processes, so that all of them decide alike.
        loss_mean, z_mean = self.world.sums(loss_sum, z_sum)
        verdict = self.guard.judge(step, loss_mean, norm.item(), batch.ids)
        if verdict.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, verdict.clip, norm)
            # The rate is a function of the step, set anew each time: a run that goes on needs no
            # scheduler's state.
            for optimizer in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.step()
        return StepResult(
            loss_mean,
            norm.item(),
            verdict.reason,
            z_mean if self.settings.router_z_loss else None,
            routing,
        )

    def precision(self) -> AbstractContextManager[Any]:
        """Returns the context that the model's forward passes run under: autocast for bf16."""
        kind = torch.device(self.world.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.settings.precision == "bf16")

    def _piece(
        self, phase: Phase, batch: LocalBatch, piece: slice, watched: bool
    ) -> tuple[float, float, dict[int, dict[str, float]]]:
        """Adds a piece's gradient. Returns its parts of the losses, and what the routers did."""
        settings, device = self.settings, self.world.device
        latents_BCHW, ids = batch.latents_BCHW[piece], list(batch.ids[piece])
        captions, draws = list(batch.captions[piece]), list(batch.draws[piece])
        share = 1 / batch.total
        if not ids:  # the others wait for this process's forward and backward pass all the same
            latents_BCHW, captions = latents_BCHW.new_zeros(1, *latents_BCHW.shape[1:]), [""]
            ids, draws, share = [""], [""], 0.0
        grid = grid_of(latents_BCHW, self.model.config.patch_size)
        # By epoch and id: however the batch is cut, a sample meets the same noise and sigma.
        keys = [f"{draw}:{ident}" for draw, ident in zip(draws, ids, strict=True)]
        noise_BCHW = torch.stack(
            [draw_noise(settings.seed, key, tuple(latents_BCHW.shape[1:])) for key in keys]
        )
        mu = shift_mu(grid[0] * grid[1]) if phase.timestep_mu is None else phase.timestep_mu
        sigmas = [
            draw_sigma(
                settings.seed,
                key,
                mu=mu,
                std=settings.timestep_std,
                uniform_share=settings.timestep_uniform,
            )
            for key in keys
        ]
        states = self.text.encode(captions)
        with self.precision():
            loss_B, routing = flow_loss_and_routing(
                self.model,
                latents_BCHW.to(device),
                noise_BCHW.to(device),
                torch.tensor(sigmas, device=device),
                self.model.encode_text(*states, grid),
                watched or settings.router_z_loss > 0,
            )
        loss = loss_B.sum() * share
        z_loss = loss.new_zeros(())
        if settings.router_z_loss:
            # Each router's figure is a mean over the piece, which weighs by its share of samples.
            z_loss = sum((r.z_loss for r in routing.values()), z_loss) * (len(ids) * share)
        # FSDP takes the mean over processes.
        objective = (loss + settings.router_z_loss * z_loss) * self.world.size
        objective.backward()
        seen = {n: r.statistics() for n, r in routing.items()} if watched else {}
        return loss.item(), z_loss.item(), seen
