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
    """Settings of the quick-train. The defaults suit a laptop and a few hundred images."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # The model's size.
    preset: Literal["nano", "debug", "small", "base"] = Field(
        default="nano",
        description="Size of the transformer: nano trains on a CPU, small is for one GPU, base is "
        "the published size (needs GPUs), debug is for tests.",
    )

    # Which samples of the set are used, how often, in what order, and how many per step.
    resolution: int | None = Field(
        default=None,
        ge=8,
        description="Resolution of the set to train on, in pixels. null: its smallest.",
    )
    edition: str | None = Field(
        default=None,
        description="Caption edition to train on, by name or config hash. null: the edition of "
        "`shard.captions`, or the set's only one.",
        json_schema_extra=ADDED,
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        description="Maximum number of samples to use: the set's first ones in the order of their "
        "ids (--limit). null: no limit.",
    )
    sample: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the set's samples to use, chosen by a keyed hash of the id "
        "(--sample).",
    )
    steps: int = Field(
        default=600,
        ge=1,
        description="Number of optimizer steps. With `phases`, it is the sum of theirs; leave it "
        "out then.",
    )
    batch_size: int = Field(
        default=32,
        ge=1,
        description="Images per step, over all processes. The last batch of a bucket may have "
        "fewer.",
    )
    batch_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Image tokens per step; replaces `batch_size`. A batch has as many images of "
        "its aspect bucket as fit into this number, and at least one. null: `batch_size` applies.",
        json_schema_extra=ADDED,
    )
    micro_batch: int | None = Field(
        default=None,
        ge=1,
        description="Maximum number of images that a process computes at once; a larger share of a "
        "step is split, and the gradients of the pieces are summed. Lower it if memory runs out. "
        "null: all at once.",
        json_schema_extra=KEEPS_VALUES,
    )
    capacity_factors: float | tuple[float, ...] | None = Field(
        default=None,
        description="Capacity factors of the experts: one number for all blocks with experts, or "
        "one per block (0 for dense blocks). null: those of the preset.",
    )
    aspects: tuple[str, ...] | None = Field(
        default=None,
        description="Names of the aspect buckets to train on (1x1, 16x9). null: all of the set.",
    )
    captions: Weights | None = Field(
        default=None,
        description="Sampling weights of captions by source: a source as stored in the set "
        "(synthesized:short), the part after its colon (short) or the part before it (web). A "
        "sample without a caption of a weight above 0 is left out. null: equal weights.",
    )
    mixture: Mixture | None = Field(
        default=None,
        description="How often a sample occurs in an epoch, by the values of the set's columns "
        "(tier, curriculum): {tier: {A1: 2, A2: 1, A3: 0.5}} uses A1 twice, A2 once, half of A3, "
        "and no others. null: every sample once.",
        json_schema_extra=ADDED,
    )
    columns: str | None = Field(
        default=None,
        description="Which set of columns the mixture reads if there are several, by 4 or more "
        "digits of its hash. null: the only one.",
        json_schema_extra=ADDED,
    )
    exact_below: int = Field(
        default=5_000_000,
        ge=0,
        description="Number of samples at a resolution below which a set is shuffled exactly, by a "
        "hash of every id. Larger sets are read as streams over their tars, which need no memory "
        "per sample.",
        json_schema_extra=ADDED,
    )
    streams: int = Field(
        default=256,
        ge=1,
        description="Minimum number of streams over the tars of a set that is not shuffled "
        "exactly; 16 times the batch size, if that is more.",
        json_schema_extra=ADDED,
    )
    phases: tuple[Phase, ...] = Field(
        default=(),
        description="Phases of the training, one after the other. A key that a phase leaves out "
        "has the value of the setting beside `phases`. Empty: one phase of `steps`.",
    )

    # Precision, the optimizer, its schedule, and the treatment of bad steps.
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32",
        description="Number format of matrix products. bf16: bfloat16 (autocast, and Muon's "
        "iterations), while weights, gradients and the optimizer's state stay float32.",
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Recompute each block in the backward pass: less memory, more computation.",
        json_schema_extra=KEEPS_VALUES,
    )
    optimizer: Literal["adamw", "muon"] = Field(
        default="muon",
        description="muon: Muon for the matrices inside blocks, and AdamW for the rest; adamw: "
        "AdamW for everything.",
    )
    schedule: Literal["warmup_decay", "warmup_stable_merge"] = Field(
        default="warmup_decay",
        description="Learning rate after the warm-up. warmup_decay: falls over the last "
        "`decay_share` of the steps; warmup_stable_merge: stays constant, and the last checkpoints "
        "of the last phase are merged at the end.",
    )
    merge_last: int = Field(
        default=16,
        ge=1,
        description="With warmup_stable_merge: how many of the last checkpoints to merge, if there "
        "are that many (16 is second-hand).",
    )
    merge_weights: Literal["inverse_sqrt", "uniform", "one_minus_sqrt"] = Field(
        default="inverse_sqrt",
        description="With warmup_stable_merge: weights of the merged checkpoints. inverse_sqrt: "
        "1/sqrt(k) for the k-th newest (second-hand); uniform imitates a linear decay of the "
        "learning rate, one_minus_sqrt a 1 - sqrt decay.",
    )
    lr: float = Field(
        default=8e-3,
        gt=0,
        description="Peak learning rate. The default is for muon and the nano preset; use about "
        "3e-3 with adamw there. The published model had 1e-4 (second-hand).",
    )
    warmup: int = Field(
        default=20,
        ge=0,
        description="Number of steps over which the learning rate rises linearly from 0.",
    )
    decay_share: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="With warmup_decay: share of the steps, at the end, over which the learning "
        "rate falls linearly to 0.",
    )
    weight_decay: float = Field(
        default=0.01, ge=0, description="Weight decay of matrices; norms and biases have none."
    )
    clip: float = Field(
        default=1.0,
        gt=0,
        description="Maximum norm of the gradient; larger gradients are scaled down to it.",
    )
    router_z_loss: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the router z-loss, which is summed over blocks; 0: not used "
        "(published, second-hand: 5e-7).",
    )
    max_bad_steps: int = Field(
        default=10,
        ge=1,
        description="Number of skipped steps in a row at which the run fails. A step is skipped if "
        "its loss or gradient is not finite, or if it is a spike and `spike_action` is skip.",
        json_schema_extra=KEEPS_VALUES,
    )
    spike_factor: float | None = Field(
        default=None,
        gt=1,
        description="Factor for detecting spikes: steps whose gradient norm exceeds this factor "
        "times the median of the last `spike_window` normal steps. null: no spikes are detected.",
    )
    spike_window: int = Field(
        default=100,
        ge=10,
        description="Number of normal steps whose median norm `spike_factor` multiplies. No spikes "
        "are detected before a phase has had 10 of them.",
    )
    spike_action: Literal["skip", "clip"] = Field(
        default="skip",
        description="What to do with a spike. skip: do not take the step; clip: clip its gradient "
        "to the median norm (or to `clip`, if that is less).",
    )

    # Randomness: noise levels, and captions that are dropped.
    seed: int = Field(
        default=0,
        ge=0,
        description="Random seed of the initial weights, the order of the samples, captions, "
        "sigmas (noise levels) and noise.",
    )
    caption_dropout: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of samples that are trained with the empty text instead of a caption; "
        "guidance needs it.",
    )
    timestep_mu: float | None = Field(
        default=None,
        description="Mean of the logit of sigma, the share of noise; higher values give more "
        "noise. null: depends on the image's number of tokens, from 0.5 at 256 (and below) to 1.15 "
        "at 4096 (and above); second-hand figures.",
    )
    timestep_std: float = Field(
        default=1.0, gt=0, description="Standard deviation of the logit of sigma."
    )
    timestep_uniform: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of samples whose sigma is drawn uniformly from 0 to 1 instead.",
    )

    # The held-out loss.
    holdout_share: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Share of samples that are held out, chosen by a hash of their ids.",
    )
    holdout_limit: int = Field(
        default=32,
        ge=0,
        description="Maximum number of held-out samples to measure; the others are neither "
        "measured nor trained on. 0: no held-out loss.",
    )
    holdout_times: int = Field(
        default=4,
        ge=1,
        description="How often the held-out loss is measured, at equal distances; the last time is "
        "after the last step.",
    )

    # Output during the training.
    checkpoint_every: int = Field(
        default=100,
        ge=0,
        description="Steps between checkpoints; a killed run continues from the last one when the "
        "same command is run again. 0: only one at the end.",
        json_schema_extra=KEEPS_VALUES,
    )
    keep_checkpoints: int = Field(
        default=1,
        ge=1,
        description="Number of newest checkpoints to keep (with warmup_stable_merge, at least "
        "`merge_last`). Only the newest one keeps the optimizer's state.",
        json_schema_extra=KEEPS_VALUES,
    )
    router_every: int = Field(
        default=100,
        ge=0,
        description="Steps between lines of router statistics (per block) in the metrics; 0: none.",
        json_schema_extra=KEEPS_VALUES,
    )
    tensorboard: bool = Field(
        default=False,
        description="Also write the metrics for TensorBoard, to `tensorboard/`.",
        json_schema_extra=KEEPS_VALUES,
    )

    # The encoders of pictures and texts.
    codec: Literal["space_to_depth", "vae"] = Field(
        default="space_to_depth",
        description="How pixels become latents. space_to_depth: squares of pixels, unchanged; vae: "
        "a Qwen-Image VAE.",
    )
    codec_factor: int = Field(
        default=4,
        ge=1,
        description="With space_to_depth: side, in pixels, of the squares that become one latent "
        "pixel each.",
    )
    vae: str = Field(
        default=NANO,
        description="With codec=vae: nano (the small VAE included in the package), the folder of "
        "an AutoencoderKLQwenImage in diffusers' format, or a hub name (its subfolder `vae` is "
        "used).",
    )
    vae_revision: str | None = Field(
        default=None, description="Commit or tag of a hub VAE; required for one."
    )
    text: TextSettings = Field(default=TextSettings(), description="Text encoder.")
    encoded: Literal["fp32", "bf16", "fp16", "off"] = Field(
        default="fp32",
        description="Precision of the stored latents and text states to use, which `nucleus "
        "encode` made with the same encoders; fp32 changes no value. Missing ones are encoded "
        "during the training. off: nothing stored is used.",
        json_schema_extra=ADDED,
    )

    # Pictures drawn from the model.
    sample_prompts: tuple[str, ...] = Field(
        default=(),
        description="Prompts of the sample grid, one row each. Empty: captions from the set.",
        json_schema_extra=KEEPS_VALUES,
    )
    sample_rows: int = Field(
        default=6,
        ge=1,
        description="Number of captions in the grid if `sample_prompts` is empty.",
        json_schema_extra=KEEPS_VALUES,
    )
    sample_seeds: tuple[Seed, ...] = Field(
        default=(0, 1, 2),
        min_length=1,
        description="Seeds of the sample grid, one column each.",
        json_schema_extra=KEEPS_VALUES,
    )
    sample_every: int = Field(
        default=0,
        ge=0,
        description="Steps between sample grids during the training; 0: only one at the end.",
        json_schema_extra=KEEPS_VALUES,
    )
    sample_steps: int = Field(
        default=20, ge=1, description="Euler steps per sample.", json_schema_extra=KEEPS_VALUES
    )
    guidance: float = Field(
        default=4.0,
        ge=1,
        description="Scale of the classifier-free guidance of samples; 1: no guidance.",
        json_schema_extra=KEEPS_VALUES,
    )

    # Where it runs, and with how much memory.
    threads: int = Field(
        default=1,
        ge=1,
        description="Number of CPU threads; another number changes the last bits of results. Two "
        "threads on cores that other processes use can be many times slower than one.",
        json_schema_extra=KEEPS_VALUES,
    )
    device: str = Field(
        default="cpu",
        description="Device to train on; bit-identical results are only guaranteed on cpu.",
        json_schema_extra=KEEPS_VALUES,
    )
    loader: LoaderSettings = Field(
        default=LoaderSettings(),
        description="How pictures and captions are read.",
        json_schema_extra=KEEPS_VALUES,
    )
    image_cache_bytes: int = Field(
        default=1 << 30,
        ge=0,
        description="Memory for decoded images, in bytes. They are only cached if all of the set's "
        "images fit.",
        json_schema_extra=KEEPS_VALUES,
    )
    latent_cache_bytes: int = Field(
        default=256 << 20,
        ge=0,
        description="Memory for cached latents, in bytes.",
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
                f"steps is {content['steps']}, but the phases' sum is {total}; remove steps"
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
        return tuple(phase.completed(shared) for phase in phases)
