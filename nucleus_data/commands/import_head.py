"""`nucleus import-head`: converts a published head to the format of `score.heads`."""

from pathlib import Path

import click

from nucleus_data.commands.support import LocalPath, say

# Those of nucleus_data.engines.published_heads, repeated since importing it would import numpy.
STYLES = ("laion_aesthetic", "laion_aesthetic_relu", "aesthetic_v2_5", "clip_nsfw", "clip_nsfw_h14")


@click.command("import-head")
@click.argument("file", type=LocalPath(dir_okay=False, path_type=Path))
@click.option("--style", type=click.Choice(STYLES), required=True, help="Architecture of the head.")
@click.option("--name", required=True, help="Name of its score, for use in rules.")
@click.option("--model", required=True, help="Value of embed.model that it was trained on.")
@click.option("--revision", help="Value of embed.revision; required for a hub name.")
@click.option(
    "--out",
    type=LocalPath(file_okay=False, path_type=Path),
    required=True,
    help="Folder for score.heads; the head is added to those already there.",
)
def import_head(
    file: Path, style: str, name: str, model: str, revision: str | None, out: Path
) -> None:
    """Convert a published head for use in score.heads.

    FILE is the head's state dict (.pth or .safetensors).
    """
    from nucleus_data.engines.find import CLIP, resolve_model
    from nucleus_data.engines.heads import add_head
    from nucleus_data.engines.published_heads import head_of, read_state

    found = resolve_model(model, revision, CLIP)
    head = head_of(read_state(file), style)
    heads = add_head(out, name, head, found)
    sizes = " -> ".join(str(layer.weight.shape[1]) for layer in head.layers)
    say(f"{out}: {', '.join(heads.heads)}; {name} is {sizes} -> 1, a {head.kind}")
    say(f"use it with embed.model={model} score.heads={out} and, in a rule, {name}")
