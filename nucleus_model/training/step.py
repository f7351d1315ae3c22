"""Takes one optimizer step: the gradient of a batch, in pieces and over all processes.

The loss of a step is the mean over all its samples. Each piece's loss is divided by the number of
samples of the whole step. So the gradients of the pieces sum to that of the batch, up to rounding,
and a sample has the same weight however the batch is divided. Noise and sigmas are keyed by epoch
and id.
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
        draws: Key of each sample's noise and sigma, together with its id: the epoch.
        latents_BCHW: Float32, on the CPU; B is 0 if this process has no samples.
        ids: Ids of the B samples.
        captions: Captions of the B samples.
        total: Number of samples of the step, in all processes.
        pieces: Number of pieces into which each process divides its part.
        with_routing: Whether to return statistics of the routers.
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
    """The result of a step.

    Attributes:
        loss: Mean loss of the step's samples.
        grad_norm: Norm of the whole gradient, before clipping.
        skipped: Why the step was skipped or clipped, as in `guards.Verdict`; None if it was not.
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
        model: The model; sharded, if there are several processes.
        optimizers: Optimizers of its parameters.
        text: The text encoder.
        settings: The run's settings.
        world: The processes of the run.
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
            step: The step's number, for error messages.
            rate: The learning rate.
            phase: The phase, which determines the distribution of sigmas.
            batch: This process's part of the step.

        Raises:
            FloatingPointError: Too many steps in a row were skipped.
        """
        self.model.zero_grad(set_to_none=True)
        loss_sum = z_sum = 0.0
        routing: dict[int, dict[str, float]] = {}
        bounds = [len(batch.ids) * n // batch.pieces for n in range(batch.pieces + 1)]
        for number in range(batch.pieces):
            # Each process sums the gradients of its pieces; they are exchanged once, with the last.
            last = number == batch.pieces - 1
            if self.world.mesh is not None:
                model: Any = self.model
                model.set_requires_gradient_sync(last)
            watched = batch.with_routing and number == 0
            piece = slice(bounds[number], bounds[number + 1])
            loss, z_loss, statistics = self._piece(phase, batch, piece, watched)
            loss_sum, z_sum = loss_sum + loss, z_sum + z_loss
            routing = statistics or routing
        # One parameter never has a gradient: the published norm of text queries, which is unused.
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        norm = whole(
            torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        )
        # The guard's input is summed over all processes, so that all make the same decision.
        loss_mean, z_mean = self.world.sums(loss_sum, z_sum)
        verdict = self.guard.judge(step, loss_mean, norm.item(), batch.ids)
        if verdict.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, verdict.clip, norm)
            # The rate is a function of the step and set at every step, so that a resumed run needs
            # no scheduler state.
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
        """Adds a piece's gradient. Returns its shares of loss and z-loss, and router statistics."""
        settings, device = self.settings, self.world.device
        latents_BCHW, ids = batch.latents_BCHW[piece], list(batch.ids[piece])
        captions, draws = list(batch.captions[piece]), list(batch.draws[piece])
        share = 1 / batch.total
        if not ids:  # other processes wait for this one's forward and backward pass even so
            latents_BCHW, captions = latents_BCHW.new_zeros(1, *latents_BCHW.shape[1:]), [""]
            ids, draws, share = [""], [""], 0.0
        grid = grid_of(latents_BCHW, self.model.config.patch_size)
        # By epoch and id: a sample gets the same noise and sigma however the batch is divided.
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
            # Each router's z-loss is a mean over the piece, and is weighted by its share of
            # samples.
            z_loss = sum((r.z_loss for r in routing.values()), z_loss) * (len(ids) * share)
        # FSDP averages gradients over processes; the factor turns the average into a sum.
        objective = (loss + settings.router_z_loss * z_loss) * self.world.size
        objective.backward()
        seen = {n: r.statistics() for n, r in routing.items()} if watched else {}
        return loss.item(), z_loss.item(), seen
