"""Settings of the quick-train. They need no torch, so that recipes can be checked without it.

Fields marked with `KEEPS_VALUES` change how the work is done, but no value that a step computes, so
a run can resume with other values of them. All other fields affect the losses, and so determine
whether two runs are the same (`nucleus_data.config.deciding`).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from nucleus_data.config import ADDED, KEEPS_VALUES
from nucleus_data.engines.find import NANO
from nucleus_model.settings.loading import LoaderSettings
from nucleus_model.settings.phases import Mixture, Phase, Weights
from nucleus_model.settings.presets import PRESETS
from nucleus_model.settings.text_encoder import TextSettings

# The range of seeds that torch's generators accept.
Seed = Annotated[int, Field(ge=-(2**63), lt=2**64)]


class QuickTrainSettings(BaseModel):
    """Settings of the quick-train; the defaults suit a laptop and some hundred images."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # The model's size.
    preset: Literal["nano", "debug", "small", "base"] = Field(
        default="nano",
        description="Size of the transformer; small is for one GPU, base the published one.",
    )

    # Which samples of the set are used, how often, in what order, and how many per step.
    resolution: int | None = Field(
        default=None, ge=8, description="Which resolution of the set; empty for its smallest."
    )
    edition: str | None = Field(
        default=None,
        description="Captions to train on: name or config hash of one of the set's editions; empty "
        "for the one of shard.captions, or for the only one.",
        json_schema_extra=ADDED,
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        description="Only the set's first so many samples, in the order of their ids (--limit).",
    )
    sample: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Only this share of the set's samples, by a keyed hash of the id (--sample).",
    )
    steps: int = Field(
        default=600, ge=1, description="Optimizer steps; with `phases` the sum of theirs."
    )
    batch_size: int = Field(
        default=32,
        ge=1,
        description="Images a step, of all processes; a bucket's last batch has fewer.",
    )
    batch_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Image tokens a step instead: of each aspect bucket as many images as have no "
        "more tokens, one at least. Empty: `batch_size` counts.",
        json_schema_extra=ADDED,
    )
    micro_batch: int | None = Field(
        default=None,
        ge=1,
        description="Most images that a process takes at once; gradients of a step's pieces are "
        "summed. Empty for all.",
        json_schema_extra=KEEPS_VALUES,
    )
    capacity_factors: float | tuple[float, ...] | None = Field(
        default=None,
        description="Of the experts: one for all blocks that have any, or one a block (0 where it "
        "is dense). Empty for the preset's.",
    )
    aspects: tuple[str, ...] | None = Field(
        default=None, description="Aspect buckets by name (1x1, 16x9); empty for all of the set."
    )
    captions: Weights | None = Field(
        default=None,
        description="Weights of captions by where they come from: a source as the set has it "
        "(synthesized:short), its second part (short) or its first (web). A sample without any "
        "caption of a weight above 0 is left out. Empty: all alike.",
    )
    mixture: Mixture | None = Field(
        default=None,
        description="How often an epoch has each sample, by a column beside the set (tier, "
        "curriculum) and its values: {tier: {A1: 2, A2: 1, A3: 0.5}} has those of A1 twice, half "
        "of A3's, and no others. Empty: every sample once.",
        json_schema_extra=ADDED,
    )
    columns: str | None = Field(
        default=None,
        description="Which columns beside the set a mixture reads, by 4 or more digits of their "
        "hash. Empty for the only ones.",
        json_schema_extra=ADDED,
    )
    exact_below: int = Field(
        default=5_000_000,
        ge=0,
        description="A set of fewer samples at a resolution is shuffled exactly, by a hash of "
        "every id; a larger one by streams over its tars, which takes no memory a sample.",
        json_schema_extra=ADDED,
    )
    streams: int = Field(
        default=256,
        ge=1,
        description="Of a set that is not shuffled exactly: the least number of streams over its "
        "tars (16 times the batch size, if that is more).",
        json_schema_extra=ADDED,
    )
    phases: tuple[Phase, ...] = Field(
        default=(),
        description="One after the other; what one leaves out has the value beside this key. "
        "Empty for one phase of `steps`.",
    )

    # Precision, the optimizer, its schedule, and the treatment of bad steps.
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32",
        description="bf16: matrix products in bfloat16 (autocast, and Muon's iterations); weights, "
        "gradients and the optimizer's state stay float32.",
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Compute each block again in the backward pass: less memory, more work.",
        json_schema_extra=KEEPS_VALUES,
    )
    optimizer: Literal["adamw", "muon"] = Field(
        default="muon",
        description="muon for the matrices inside blocks and adamw for the rest; or adamw for all.",
    )
    schedule: Literal["warmup_decay", "warmup_stable_merge"] = Field(
        default="warmup_decay",
        description="warmup_decay falls over the last `decay_share` of the steps; "
        "warmup_stable_merge stays, and merges the last checkpoints of the last phase at the end.",
    )
    merge_last: int = Field(
        default=16,
        ge=1,
        description="warmup_stable_merge: how many checkpoints, if there are as many (16 is "
        "second-hand).",
    )
    merge_weights: Literal["inverse_sqrt", "uniform", "one_minus_sqrt"] = Field(
        default="inverse_sqrt",
        description="warmup_stable_merge: inverse_sqrt is 1/sqrt(k) for the k-th newest "
        "(second-hand); uniform and one_minus_sqrt stand for a linear decay and one of that form.",
    )
    lr: float = Field(
        default=8e-3,
        gt=0,
        description="Peak learning rate. The default is for muon and the nano preset; adamw wants "
        "some 3e-3 there, the published model had 1e-4 (second-hand).",
    )
    warmup: int = Field(
        default=20, ge=0, description="Steps over which the learning rate rises from 0."
    )
    decay_share: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="warmup_decay: last share of the steps, over which it falls to 0 again.",
    )
    weight_decay: float = Field(
        default=0.01, ge=0, description="Of matrices; norms and biases have none."
    )
    clip: float = Field(default=1.0, gt=0, description="Gradients are scaled down to this norm.")
    router_z_loss: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the router z-loss, summed over blocks (published, second-hand: "
        "5e-7).",
    )
    max_bad_steps: int = Field(
        default=10,
        ge=1,
        description="So many steps in a row whose loss or gradient is not finite, or a spike that "
        "is skipped, end the run.",
        json_schema_extra=KEEPS_VALUES,
    )
    spike_factor: float | None = Field(
        default=None,
        gt=1,
        description="A gradient norm above this many times the median of the last "
        "`spike_window` is a spike; empty: there are none.",
    )
    spike_window: int = Field(
        default=100, ge=10, description="Steps of that median; before 10 there is none."
    )
    spike_action: Literal["skip", "clip"] = Field(
        default="skip", description="A spike's step is not taken, or clipped to the median."
    )

    # Randomness: noise levels, and captions that are dropped.
    seed: int = Field(
        default=0, ge=0, description="Decides weights, order, captions, sigmas and noise."
    )
    caption_dropout: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of samples trained with the empty text, for guidance.",
    )
    timestep_mu: float | None = Field(
        default=None,
        description="Mean of the logit of sigma; higher is noisier. Empty: by the image's tokens, "
        "from 0.5 at 256 (and below) to 1.15 at 4096 (and above); second-hand figures.",
    )
    timestep_std: float = Field(
        default=1.0, gt=0, description="Standard deviation of the logit of sigma."
    )
    timestep_uniform: float = Field(default=0.1, ge=0, le=1, description="Share of uniform sigmas.")

    # The held-out loss.
    holdout_share: float = Field(
        default=0.05, ge=0, lt=1, description="Share of samples held out, by a hash of their ids."
    )
    holdout_limit: int = Field(
        default=32, ge=0, description="At most so many of them are measured."
    )
    holdout_times: int = Field(
        default=4,
        ge=1,
        description="How often the held-out loss is measured, the last step included.",
    )

    # Output during the training.
    checkpoint_every: int = Field(
        default=100,
        ge=0,
        description="Steps between checkpoints, from which the same command goes on; 0: only one "
        "at the end.",
        json_schema_extra=KEEPS_VALUES,
    )
    keep_checkpoints: int = Field(
        default=1,
        ge=1,
        description="The newest so many stay (warmup_stable_merge: at least `merge_last`); the "
        "optimizer's state stays in the newest alone.",
        json_schema_extra=KEEPS_VALUES,
    )
    router_every: int = Field(
        default=100,
        ge=0,
        description="Steps between lines on what the routers did, by block; 0: none.",
        json_schema_extra=KEEPS_VALUES,
    )
    tensorboard: bool = Field(
        default=False,
        description="Write the metrics for TensorBoard, too, into `tensorboard/`.",
        json_schema_extra=KEEPS_VALUES,
    )

    # The encoders of pictures and texts.
    codec: Literal["space_to_depth", "vae"] = Field(
        default="space_to_depth",
        description="Pixels to latents: squares of pixels as they are, or a Qwen-Image VAE.",
    )
    codec_factor: int = Field(
        default=4,
        ge=1,
        description="space_to_depth: side of the squares of pixels that become one latent pixel.",
    )
    vae: str = Field(
        default=NANO,
        description="vae: nano (the small one that comes with the package), a folder of an "
        "AutoencoderKLQwenImage in diffusers' format, or a hub name (its subfolder `vae`).",
    )
    vae_revision: str | None = Field(
        default=None, description="Commit or tag of a hub VAE; required for one."
    )
    text: TextSettings = Field(default=TextSettings(), description="The text encoder.")
    encoded: Literal["fp32", "bf16", "fp16", "off"] = Field(
        default="fp32",
        description="Latents and text states of this precision that `nucleus encode` left beside "
        "the set are read, where it has some of these very encoders; fp32 changes no value. What "
        "there is not is encoded here; off: all is.",
        json_schema_extra=ADDED,
    )

    # Pictures drawn from the model.
    sample_prompts: tuple[str, ...] = Field(
        default=(),
        description="Prompts of the grid; empty for captions from the set.",
        json_schema_extra=KEEPS_VALUES,
    )
    sample_rows: int = Field(
        default=6,
        ge=1,
        description="How many captions, if no prompts are given.",
        json_schema_extra=KEEPS_VALUES,
    )
    sample_seeds: tuple[Seed, ...] = Field(
        default=(0, 1, 2),
        min_length=1,
        description="One column of the grid a seed.",
        json_schema_extra=KEEPS_VALUES,
    )
    sample_every: int = Field(
        default=0,
        ge=0,
        description="Steps between grids on the way; 0: only one at the end.",
        json_schema_extra=KEEPS_VALUES,
    )
    sample_steps: int = Field(
        default=20, ge=1, description="Euler steps.", json_schema_extra=KEEPS_VALUES
    )
    guidance: float = Field(
        default=4.0,
        ge=1,
        description="Scale of the guidance; 1 is none.",
        json_schema_extra=KEEPS_VALUES,
    )

    # Where it runs, and with how much memory.
    threads: int = Field(
        default=1,
        ge=1,
        description="CPU threads; another number gives other last bits. Two threads on cores that "
        "others use can be many times slower than one.",
        json_schema_extra=KEEPS_VALUES,
    )
    device: str = Field(
        default="cpu",
        description="Where it runs; equal bits are promised for cpu only.",
        json_schema_extra=KEEPS_VALUES,
    )
    loader: LoaderSettings = Field(
        default=LoaderSettings(),
        description="How pictures and captions get from the store to the trainer.",
        json_schema_extra=KEEPS_VALUES,
    )
    image_cache_bytes: int = Field(
        default=1 << 30,
        ge=0,
        description="Memory for decoded images, in bytes, where all of the set's fit.",
        json_schema_extra=KEEPS_VALUES,
    )
    latent_cache_bytes: int = Field(
        default=256 << 20,
        ge=0,
        description="Memory for encoded images, in bytes.",
        json_schema_extra=KEEPS_VALUES,
    )

    @field_validator("capacity_factors", "phases")
    @classmethod
    def _fit_the_preset(cls, value: Any, info: ValidationInfo) -> Any:
        # All phases are checked here: an error in the last one would otherwise show after days.
        preset = info.data.get("preset")  # missing if it is invalid itself
        if preset is None:
            return value
        for number, phase in enumerate(value if info.field_name == "phases" else [value]):
            factors = phase.capacity_factors if isinstance(phase, Phase) else phase
            if factors is None:
                continue
            try:
                PRESETS[preset].check_capacity(factors)
            except ValueError as error:
                where = f"phase {number}: " if isinstance(phase, Phase) else ""
                raise ValueError(f"{where}{error} (preset {preset})") from None
        return value

    @model_validator(mode="before")
    @classmethod
    def _sum_of_steps(cls, content: Any) -> Any:
        if not isinstance(content, Mapping) or not content.get("phases"):
            return content
        try:
            total = sum(Phase.model_validate(phase).steps for phase in content["phases"])
        except ValueError:
            return content  # the field's own validation will report the error
        if content.get("steps", total) != total:
            raise ValueError(
                f"steps is {content['steps']}, the phases' sum is {total}; leave steps out"
            )
        return {**content, "steps": total}

    def plan(self) -> tuple[Phase, ...]:
        """Returns the phases in order (at least one), completed by the settings beside them."""
        # By the names of the phase's fields, so that a new field of both is shared automatically.
        shared = {
            name: getattr(self, name)
            for name in Phase.model_fields
            if name not in ("steps", "lr_factor")
        }
        phases = self.phases or (Phase(steps=self.steps),)
        return tuple(
            phase.model_copy(update={k: v for k, v in shared.items() if getattr(phase, k) is None})
            for phase in phases
        )
