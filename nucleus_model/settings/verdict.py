"""Settings of a comparison of two training sets. They need no torch.

The preset determines how both arms are trained. Arms with different steps, batches or learning
rates would differ because of these; and a table of detectable differences is valid only for the
settings with which it was measured.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nucleus_data.engines.find import NANO
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.settings.text_encoder import TextSettings

PresetName = Literal["debug", "nano"]

# Settings of every run of a preset, which can't be overridden.
FIXED: dict[str, dict[str, object]] = {
    # Takes seconds per run: tests whether everything works, not the quality of the data.
    "debug": {"preset": "debug", "steps": 40, "batch_size": 16, "lr": 8e-3, "warmup": 5},
    "nano": {"preset": "nano", "steps": 100, "batch_size": 32, "lr": 8e-3, "warmup": 20},
}


class VerdictSettings(BaseModel):
    """Settings of a comparison of two training sets."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    preset: PresetName = Field(
        default="nano",
        description="How both arms train. nano: gives a verdict, at about 35 s of one core per "
        "run; debug: only tests whether everything works.",
    )
    claim: Literal["sets", "recipes"] = Field(
        default="sets",
        description="What the verdict is about. sets: these two sets. recipes: the recipes that "
        "made them, on random parts of this corpus; each replicate then trains on another draw of "
        "the pictures, by duplicate cluster. The draws overlap: not a claim about other corpora.",
    )
    replicates: int = Field(
        default=6,
        ge=3,
        description="Runs per arm, with the seeds 0, 1, 2 and so on. With `half_width`, these are "
        "the pilot.",
    )
    half_width: float | None = Field(
        default=None,
        gt=0,
        description="Target half-width of the loss's confidence interval. After the pilot, as many "
        "replicates are added as its standard deviation requires (Stein 1945), up to `most` in "
        "all. null: the pilot only.",
    )
    most: int = Field(default=12, ge=3, description="Maximum number of replicates per arm.")
    share: float = Field(
        default=0.8,
        gt=0,
        lt=1,
        description="With claim=recipes: share of the clusters that each replicate draws.",
    )
    pictures: int = Field(
        default=160,
        ge=2,
        description="Maximum number of reference pictures to evaluate; memorisation is measured on "
        "about as many trained-on pictures.",
    )
    holdout_share: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Share of both sets' pictures that neither arm trains on, chosen by a hash of "
        "their ids. They are the unseen pictures for measuring memorisation and, if no reference "
        "is given, also the reference.",
    )
    resolution: int | None = Field(
        default=None,
        ge=8,
        description="Which resolution of both sets to use, in pixels. null: the smallest.",
    )
    text: TextSettings = Field(
        default_factory=TextSettings,
        description="Text encoder of both arms. The packaged one only knows the synthetic world's "
        "words: from captions in other words a preset learns nothing, so it cannot judge them.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "VerdictSettings":
        if self.most < self.replicates:
            raise ValueError(
                f"most must be at least the pilot's {self.replicates} replicates, got {self.most}"
            )
        return self

    @property
    def trains(self) -> str:
        """The preset's name, with that of the text encoder if it is not the packaged one."""
        own = self.text.model == NANO
        return self.preset if own else f"{self.preset} with {Path(self.text.model).name}"

    def training(self, seed: int, prompts: tuple[str, ...] = ()) -> QuickTrainSettings:
        """Returns the settings of one run.

        Args:
            seed: Seed of the replicate.
            prompts: Prompts of the run's grid of samples.
        """
        return QuickTrainSettings.model_validate(
            {
                **FIXED[self.preset],
                "seed": seed,
                "resolution": self.resolution,
                "text": self.text,
                "holdout_share": 0.0,  # the joint order contains only samples to train on
                "checkpoint_every": 0,
                # Statistics of the routers, half-way and at the end; they do not affect the losses.
                "router_every": max(1, int(str(FIXED[self.preset]["steps"])) // 2),
                "sample_prompts": prompts,
                "sample_rows": 4,
                "sample_seeds": (seed,),
                "threads": 1,
            }
        )
