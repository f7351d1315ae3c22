"""What makes two runs the same run: all settings that change what a step does. Free of torch."""

from typing import Any

from nucleus_model.settings.settings import QuickTrainSettings

# What a run may go on with other values of.
FREE = frozenset(
    {
        "threads",
        "device",
        "image_cache_bytes",
        "latent_cache_bytes",
        "micro_batch",
        "gradient_checkpointing",
        "checkpoint_every",
        "keep_checkpoints",
        "router_every",
        "tensorboard",
        "max_bad_steps",
        "sample_prompts",
        "sample_rows",
        "sample_seeds",
        "sample_every",
        "sample_steps",
        "guidance",
    }
)


def deciding(settings: QuickTrainSettings) -> dict[str, Any]:
    """The settings that decide the losses, JSON-able."""
    content = settings.model_dump(mode="json")
    return {name: value for name, value in content.items() if name not in FREE}
