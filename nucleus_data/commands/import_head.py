"""`nucleus import-head`: a published head, as `score.heads` takes it."""

from pathlib import Path

import click

from nucleus_data.commands.support import refuse, say
from nucleus_data.errors import RequestError

# Of nucleus_data.engines.published_heads, which would import numpy.
STYLES = ("laion_aesthetic", "laion_aesthetic_relu", "aesthetic_v2_5", "clip_nsfw", "clip_nsfw_h14")


@click.command("import-head")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--style", type=click.Choice(STYLES), required=True, help="Which network it is.")
@click.option("--name", required=True, help="What rules will call its score.")
@click.option("--model", required=True, help="embed.model whose vectors it was trained on.")
@click.option("--revision", help="embed.revision; required for a hub name.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for score.heads; a head is added to those that lie there.",
)
def import_head(
    file: Path, style: str, name: str, model: str, revision: str | None, out: Path
) -> None:
    """Make a head for score.heads from FILE, a published state dict (.pth or .safetensors)."""
    from nucleus_data.engines.find import CLIP, resolve_model
    from nucleus_data.engines.heads import add_head
    from nucleus_data.engines.published_heads import head_of, read_state

    try:
        found = resolve_model(model, revision, CLIP)
        head = head_of(read_state(file), style)
        heads = add_head(out, name, head, found)
    except RequestError as error:
        refuse(error)
    sizes = " -> ".join(str(layer.weight.shape[1]) for layer in head.layers)
    say(f"{out}: {', '.join(heads.heads)}; {name} is {sizes} -> 1, a {head.kind}")
    say(f"use it with embed.model={model} score.heads={out} and, in a rule, {name}")
