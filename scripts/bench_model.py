"""Measures the transformer: a training step against diffusers' class, memory, sampling, scale.

    python scripts/bench_model.py                      # five minutes on two idle cores
    python scripts/bench_model.py --quick --json model.json

All contestants have the same weights, inputs, optimizer (fused AdamW) and two threads. A step is
forward, backward, optimizer and freeing the gradients. Rounds alternate, and ratios are computed
within a round, of wall-clock time and of processor time (of both threads, including that of the
system); if others use the cores, the latter is more stable. In each round, the two fast contestants
alternate for several steps. Memory is the peak of a process of its own, from before its model is
built until after two steps.

Much of the loop's time is page faults: for each expert, its backward pass fills a new gradient of
all experts. With huge pages for torch's memory (THP_MEM_ALLOC_ENABLE=1, not a default), it takes
less than half the time; our implementation reuses the memory of its gradients and gains nothing.

Floating-point operations are counted by torch while the `base` preset runs on the meta device. The
share of an accelerator's peak at scale (MFU) is an *estimate*, no measurement:

    MFU = F / (F / MATMUL_SHARE + PEAK * bytes / (BANDWIDTH * BANDWIDTH_SHARE))

with F three times the operations of the forward pass, and bytes the memory traffic outside of
matrix products (PASSES over the stream in bf16, in every block). It assumes that communication is
hidden behind computation; its shares are assumptions as well, in the range that large runs report.
"""

import os

# Must be set before torch is imported: spinning threads would take cores from working ones.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nucleus_model.network.attention import TextKV
from nucleus_model.network.flow import draw_noise
from nucleus_model.network.init import build_transformer, initialise
from nucleus_model.network.transformer import NucleusTransformer
from nucleus_model.sampling.sample import sample_latents
from nucleus_model.sampling.solver import sigmas
from nucleus_model.settings.config import TransformerConfig
from nucleus_model.settings.presets import PRESETS
from scripts.benchmark import Measure, measure, parser, publish
from scripts.memory import peak_memory

THREADS = 2
OURS, LOOP, GROUPED = "ours", "diffusers, default loop", "diffusers, grouped_mm"
NAMES = (OURS, GROUPED, LOOP)
TEXT_TOKENS, TEXT_WIDTH = 64, 256
MB = 1 << 20

# An H100 SXM by its data sheet (bf16 without sparsity), and what is assumed of it.
PEAK, BANDWIDTH = 989e12, 3.35e12
MATMUL_SHARE, BANDWIDTH_SHARE = 0.6, 0.8
PASSES = 60


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        experts: Experts per block.
        side: Image tokens on a side.
        blocks: Number of blocks.
        rounds: Number of rounds.
        repeats: Steps of the fast contestants per round.
        preset: The preset for sampling.
        sample_side: Image tokens on a side, for sampling.
        text: Text tokens and width, for sampling.
        steps: Sampling steps.
    """

    experts: int = 64
    side: int = 32
    blocks: int = 2
    rounds: int = 5
    repeats: int = 4
    preset: str = "small"
    sample_side: int = 16
    text: tuple[int, int] = (128, 4096)
    steps: int = 4


QUICK = Size(blocks=1, rounds=2, repeats=2, preset="nano", sample_side=8, text=(64, 128))


class Contestant:
    """A model and its optimizer.

    Args:
        name: The contestant's name.
        size: The size of the benchmark.
    """

    def __init__(self, name: str, size: Size) -> None:
        self.name, self.grid = name, (size.side, size.side)
        config = wide(size.experts, size.blocks)
        own = NucleusTransformer(config)
        initialise(own, seed=0)
        with torch.no_grad():  # parameters that are zero at first would leave the blocks idle
            for block in own.blocks:
                bias = block.img_mod[1].get_parameter("bias")
                bias.normal_(generator=torch.Generator().manual_seed(0))
            own.proj_out.weight.normal_(0, 0.02, generator=torch.Generator().manual_seed(1))
        self.model: torch.nn.Module = own
        if name != OURS:
            values = config.model_dump(mode="json") | {"use_grouped_mm": name == GROUPED}
            from diffusers import NucleusMoEImageTransformer2DModel  # which takes seconds

            reference: Any = NucleusMoEImageTransformer2DModel(**values)
            self.model = reference
            self.model.load_state_dict(own.state_dict(), strict=True)
        del own
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        shape = (1, size.side**2, config.in_channels)
        self.tokens, self.target = draw_noise(0, "tokens", shape), draw_noise(0, "target", shape)
        self.text = draw_noise(0, "text", (1, TEXT_TOKENS, TEXT_WIDTH))
        self.sigma = torch.tensor([0.5])

    def forward(self) -> torch.Tensor:
        """Returns the model's output for the contestant's inputs."""
        if isinstance(self.model, NucleusTransformer):
            text = self.model.encode_text(self.text, None, self.grid)
            return self.model(self.tokens, self.sigma, text, self.grid).tokens_BSP
        output: torch.Tensor = self.model(
            hidden_states=self.tokens,
            img_shapes=[(1, *self.grid)],
            encoder_hidden_states=self.text,
            timestep=self.sigma,
            return_dict=False,
        )[0]
        return output

    def step(self) -> float:
        """Takes one training step; returns its loss."""
        loss = (self.forward() - self.target).square().mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()


def wide(experts: int, blocks: int) -> TransformerConfig:
    """Returns a configuration of width 512, with experts in the published proportion."""
    return TransformerConfig(
        patch_size=2,
        in_channels=64,
        out_channels=16,
        num_layers=blocks,
        attention_head_dim=64,
        num_attention_heads=8,
        num_key_value_heads=2,
        joint_attention_dim=TEXT_WIDTH,
        axes_dims_rope=(8, 28, 28),
        mlp_ratio=4.0,
        moe_enabled=True,
        dense_moe_strategy="all_moe",
        num_experts=experts,
        moe_intermediate_dim=336,
        capacity_factors=(2.0,) * blocks,
        use_sigmoid=False,
        route_scale=2.5,
    )


def bench_step(size: Size) -> list[Measure]:
    """Measures a step of each contestant, and ratios, by wall-clock and processor time."""
    contestants = {name: Contestant(name, size) for name in NAMES}
    taken: dict[str, list[Seconds]] = {name: [] for name in NAMES}
    for contestant in contestants.values():
        contestant.step()
    for number in range(size.rounds):
        order = NAMES[:: -1 if number % 2 else 1]
        steps: dict[str, list[Seconds]] = {name: [] for name in NAMES}
        for again in range(size.repeats):
            for name in order:
                if name != LOOP or again == 0:
                    steps[name].append(Seconds.by(contestants[name].step))
        for name in NAMES:
            taken[name].append(Seconds.mean(steps[name]))
            seconds = taken[name][-1]
            say(
                f"step, round {number + 1} of {size.rounds}: {name} {seconds.clock:.3f} s, "
                f"{seconds.processor:.3f} s of processor time"
            )
    what = f"step, {size.experts} experts, width 512, {size.side**2} tokens"
    rows = []
    for field, of in (("clock", ""), ("processor", ", processor time")):
        values = {name: [getattr(t, field) for t in taken[name]] for name in NAMES}
        ratios = {
            name: [a / b for a, b in zip(values[name], values[OURS], strict=True)] for name in NAMES
        }
        rows += [
            *(measure(f"{what}: {name}{of}", values[name], "s") for name in NAMES),
            measure(f"{what}: times faster{of}", ratios[LOOP], "times", ">= 10", LOOP),
            measure(f"{what}: times faster{of}", ratios[GROUPED], "times", ">= 1.15", GROUPED),
        ]
    return rows


def bench_memory(quick: bool) -> list[Measure]:
    """Measures the peak memory of a process for each contestant."""
    values = {}
    for name in NAMES:
        command = [sys.executable, "-m", "scripts.bench_model", "--peak", name]
        done = subprocess.run(
            command + ["--quick"] * quick, check=True, capture_output=True, text=True
        )
        values[name] = float(done.stdout.split()[-1])
        say(f"memory: {name} {values[name]:.0f} MB")
    return [measure(f"memory of two steps: {name}", [values[name]], "MB") for name in NAMES]


def peak(name: str, size: Size) -> float:
    """Returns the increase of this process's peak memory, in MB, by a model and two steps."""
    before = peak_memory()
    contestant = Contestant(name, size)
    for _ in range(2):
        contestant.step()
    return (peak_memory() - before) / 2**20


class Forgetful(NucleusTransformer):
    """A model that encodes its prompt again at every sigma, like one without a text cache."""

    def forward(  # type: ignore[override]
        self,
        tokens_BSP: torch.Tensor,
        sigma_B: torch.Tensor,
        text: TextKV,
        grid: tuple[int, int],
    ) -> object:
        """Returns the same output, after encoding the prompt."""
        again = self.encode_text(self.states[: text.batch], None, grid)
        return super().forward(tokens_BSP, sigma_B, again, grid)

    states: torch.Tensor


@torch.no_grad()
def bench_sampling(size: Size) -> list[Measure]:
    """Measures a guided sampling run, with and without cached keys and values of the prompt."""
    length, width = size.text
    grid = (size.sample_side, size.sample_side)
    model = build_transformer(PRESETS[size.preset], latent_channels=16, text_width=width, seed=0)
    states = draw_noise(0, "states", (1, length, width))
    noise = draw_noise(0, "noise", (1, 16, 2 * grid[0], 2 * grid[1]))
    forgetful = Forgetful(model.config)
    forgetful.load_state_dict(model.state_dict(), assign=True)
    forgetful.states = states

    def sample(which: NucleusTransformer) -> torch.Tensor:
        text = which.encode_text(states, None, grid)
        return sample_latents(which, noise, text, text, steps=size.steps, guidance=4.0)

    taken: dict[str, list[float]] = {"with": [], "without": []}
    models = {"with": model, "without": forgetful}
    for which in models.values():
        sample(which)
    for _ in range(size.rounds):
        for name, which in models.items():
            taken[name].append(Seconds.by(lambda which=which: sample(which)).clock)  # type: ignore[misc]
    ratios = [b / a for a, b in zip(taken["with"], taken["without"], strict=True)]
    what = f"sampling, {size.preset}, {grid[0] ** 2} tokens, {length} of text, {size.steps} steps"
    return [
        *(measure(f"{what}: {name} text cache", taken[name], "s") for name in taken),
        measure(f"{what}: times faster", ratios, "times", None, "without text cache"),
    ]


def operations(tokens: int) -> float:
    """Counts the operations of `base` per image token in a forward pass, without those of text.

    Args:
        tokens: Image tokens of the picture.
    """
    from torch.utils.flop_counter import FlopCounterMode  # it brings triton, for half a second

    preset = PRESETS["base"]
    side = round(tokens**0.5)
    with torch.device("meta"):
        model = NucleusTransformer(preset.transformer_config(latent_channels=16, text_width=4096))
        text = model.encode_text(torch.empty(1, 1, 4096), None, (side, side))
        noisy, sigma = torch.empty(1, tokens, 64), torch.empty(1)
        with FlopCounterMode(display=False) as counter:
            model(noisy, sigma, text, (side, side))
    return counter.get_total_flops() / tokens


def mfu(forward: float) -> float:
    """Estimates the share of the peak, 0 to 1, by the formula in this module's docstring.

    Args:
        forward: Operations of the forward pass per token.
    """
    preset = PRESETS["base"]
    moved = PASSES * preset.width * 2 * preset.layers
    total = 3 * forward
    return total / (total / MATMUL_SHARE + PEAK * moved / (BANDWIDTH * BANDWIDTH_SHARE))


def at_scale() -> list[Measure]:
    """Counts operations and estimates MFU, at the three resolutions of training."""
    rows = []
    for resolution in (256, 512, 1024):
        forward = operations((resolution // 16) ** 2)
        name = f"base at {resolution} pixels"
        rows += [
            measure(f"{name}: forward, a token", [forward / 1e9], "GFLOP"),
            measure(f"{name}: MFU on H100, ESTIMATE", [100 * mfu(forward)], "%"),
        ]
        if resolution == 1024:
            total = forward * (resolution // 16) ** 2 * len(sigmas(50)[:-1]) * 2
            rows.append(measure(f"{name}: guided image of 50 steps", [total / 1e15], "PFLOP"))
    return rows


@dataclass(frozen=True)
class Seconds:
    """A duration, in seconds.

    Attributes:
        clock: Wall-clock time.
        processor: Processor time of all threads of this process.
    """

    clock: float
    processor: float

    @classmethod
    def by(cls, work: Callable[[], object]) -> "Seconds":
        """Times one call."""
        clock, processor = time.perf_counter(), time.process_time()
        work()
        return cls(time.perf_counter() - clock, time.process_time() - processor)

    @classmethod
    def mean(cls, found: Sequence["Seconds"]) -> "Seconds":
        """Returns the mean of several durations."""
        clock, processor = (sum(t.clock for t in found), sum(t.processor for t in found))
        return cls(clock / len(found), processor / len(found))


def say(line: str) -> None:
    """Prints a line of progress."""
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark, and returns the exit code."""
    options = parser(__doc__)
    options.add_argument("--peak", metavar="NAME", help="print one contestant's memory in MB")
    given = options.parse_args(arguments)
    size = QUICK if given.quick else Size()
    torch.set_num_threads(THREADS)
    if given.peak:
        print(peak(given.peak, size))
        return 0
    measures = [*bench_step(size), *bench_memory(given.quick), *bench_sampling(size), *at_scale()]
    publish(measures, given.json)
    return 0


if __name__ == "__main__":
    from scripts.bench_model import main as imported_main

    sys.exit(imported_main())
