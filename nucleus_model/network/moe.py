"""Feed-forward layers: dense, and a mixture of experts in which experts choose their tokens.

Legend of shapes: B batch, S image tokens, D width of the stream, E experts, C tokens that an expert
takes of each image, M = B C, I inner width of an expert.

Every expert takes the same number of tokens (expert-choice routing: Zhou et al. 2022,
arXiv:2202.09368). So all experts are computed as one batched matrix product over the stacked
weights, without a loop and without padding. (In a loop, each indexing of a stacked weight would
make autograd allocate a full-size gradient of zeros.)
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from nucleus_model.network.memory import Spare, product
from nucleus_model.settings.config import TransformerConfig

TINY = 1e-12


def capacity(factor: float, tokens: int, experts: int) -> int:
    """Returns the number of tokens that an expert takes of each image, C.

    Args:
        factor: The capacity factor: the mean number of experts per token.
        tokens: Tokens of an image, S.
        experts: Number of experts, E.
    """
    return max(1, math.ceil(factor * tokens / experts))


@dataclass(frozen=True, slots=True)
class Routing:
    """A router's decisions for a batch.

    Attributes:
        chosen_BEC: Indices of the tokens that each expert took.
        tokens: Number of tokens of each image, S.
        z_loss: Mean over tokens of logsumexp(router logits)^2 (Zoph et al. 2022, arXiv:2202.08906),
            unweighted, with its gradient.
    """

    chosen_BEC: torch.Tensor
    tokens: int
    z_loss: torch.Tensor

    def load(self) -> torch.Tensor:
        """Counts the experts that took each token: int64 (B, S)."""
        flat = self.chosen_BEC.flatten(1)
        zeros = flat.new_zeros(len(flat), self.tokens)
        return zeros.scatter_add(1, flat, torch.ones_like(flat))

    def statistics(self) -> dict[str, float]:
        """Returns shares of tokens, 0 to 1, by their number of experts, and the largest number.

        `uncovered` tokens have no expert, `coverage` tokens one or more, `single` tokens exactly
        one. The gate of a `single` token is the route scale whatever its score, so the router gets
        no gradient from it. `max_load` is the largest number of experts of a token.
        """
        load_BS = self.load()
        uncovered = (load_BS == 0).float().mean().item()
        return {
            "uncovered": uncovered,
            "single": (load_BS == 1).float().mean().item(),
            "coverage": 1 - uncovered,
            "max_load": float(load_BS.max().item()),
        }


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv:2002.05202); the *second* half of the projection is the gate."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        proj = nn.ModuleDict({"proj": nn.Linear(width, 2 * inner, bias=False)})
        self.net = nn.ModuleDict({"0": proj, "2": nn.Linear(inner, width, bias=False)})

    def forward(self, x_BSD: torch.Tensor) -> torch.Tensor:
        """Applies the layer to each token; the shape stays."""
        value, gate = self.net["0"]["proj"](x_BSD).chunk(2, dim=-1)  # type: ignore[index]
        out_BSD: torch.Tensor = self.net["2"](value * functional.silu(gate))
        return out_BSD


class Experts(nn.Module):
    """Stacked SwiGLU experts; here the *first* half of the projection is the gate."""

    def __init__(self, experts: int, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.empty(experts, width, 2 * inner))
        self.down_proj = nn.Parameter(torch.empty(experts, inner, width))
        self.spare = Spare()

    def forward(self, x_EMD: torch.Tensor, gates_EM: torch.Tensor) -> torch.Tensor:
        """Applies each expert to its tokens, weighted by gates (E, M); the shape stays."""
        gate, up = product(x_EMD, self.gate_up_proj, self.spare).chunk(2, dim=-1)
        # The gates are applied to the inner values, as these are fewer than the outer ones.
        hidden_EMI = functional.silu(gate) * up * gates_EM[..., None]
        return product(hidden_EMI, self.down_proj, self.spare)


class MoE(nn.Module):
    """A mixture of experts: routed ones, and a shared one that processes every token.

    Attributes:
        capacity_factor: An expert takes max(1, ceil(factor * S / E)) tokens of each image.
    """

    def __init__(self, config: TransformerConfig, capacity_factor: float) -> None:
        super().__init__()
        width, inner = config.width, config.moe_intermediate_dim
        self.capacity_factor = capacity_factor
        self.sigmoid, self.route_scale = config.use_sigmoid, config.route_scale
        self.gate = nn.Linear(2 * width, config.num_experts, bias=False)
        self.experts = Experts(config.num_experts, width, inner)
        self.shared_expert = FeedForward(width, inner)

    def forward(
        self,
        x_BSD: torch.Tensor,
        plain_BSD: torch.Tensor,
        time_BD: torch.Tensor,
        with_routing: bool = False,
    ) -> tuple[torch.Tensor, Routing | None]:
        """Computes the layer's output (B, S, D), and returns the routing if wanted.

        Args:
            x_BSD: Normalised, modulated tokens: the experts' input.
            plain_BSD: The same without modulation: the router's input.
            time_BD: The time embedding, which is also part of the router's input.
            with_routing: Whether to return the router's decisions.
        """
        batch, tokens, width = x_BSD.shape
        logits_BSE = self.logits(plain_BSD, time_BD)
        gates_BEC, chosen_BEC = self.choose(logits_BSE)
        first_B11 = torch.arange(batch, device=x_BSD.device)[:, None, None] * tokens
        # Rows of the flattened batch, sorted by expert, so that all experts are one batched
        # product.
        rows = (chosen_BEC + first_B11).transpose(0, 1).flatten()
        gates_EM = gates_BEC.transpose(0, 1).flatten(1)
        taken = x_BSD.flatten(0, 1).index_select(0, rows)
        routed_EMD = self.experts(taken.view(*gates_EM.shape, width), gates_EM)
        # Added in place to the shared expert's output, so that no tensor of zeros is needed. A
        # token that no expert took keeps the shared expert's output alone.
        out = self.shared_expert(x_BSD).flatten(0, 1)
        out = out.index_add_(0, rows, routed_EMD.flatten(0, 1).to(out.dtype))
        routing = None
        if with_routing:
            z_loss = logits_BSE.float().logsumexp(dim=-1).square().mean()
            routing = Routing(chosen_BEC, tokens, z_loss)
        return out.view(batch, tokens, width), routing

    def logits(self, plain_BSD: torch.Tensor, time_BD: torch.Tensor) -> torch.Tensor:
        """Computes router logits (B, S, E): `gate` of [time ; tokens], without concatenating them.

        Args:
            plain_BSD: Normalised tokens without modulation.
            time_BD: The time embedding, the same for all tokens of an image.
        """
        time_ED, plain_ED = self.gate.weight.chunk(2, dim=1)
        time_BE = functional.linear(time_BD, time_ED)
        return functional.linear(plain_BSD, plain_ED) + time_BE[:, None]

    def choose(self, logits_BSE: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns gates and indices, both (B, E, C), of the tokens that each expert takes.

        The gates of a token sum to the route scale, over the experts that took it.
        """
        logits = logits_BSE.float()
        scores_BSE = logits.sigmoid() if self.sigmoid else logits.softmax(dim=-1)
        scores_BES = scores_BSE.type_as(logits_BSE).transpose(1, 2)
        batch, experts, tokens = scores_BES.shape
        count = capacity(self.capacity_factor, tokens, experts)
        taken_BEC, chosen_BEC = scores_BES.topk(count, dim=-1)
        taken, chosen = taken_BEC.flatten(1), chosen_BEC.flatten(1)
        sums_BS = taken.new_zeros(batch, tokens).scatter_add(1, chosen, taken)
        # TINY keeps the gates finite if all scores of a token have underflowed to zero.
        gates = taken / (sums_BS.gather(1, chosen) + TINY) * self.route_scale
        return gates.view_as(taken_BEC), chosen_BEC
