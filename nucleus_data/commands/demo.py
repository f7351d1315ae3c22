"""`nucleus demo`: the whole line on a small world of pictures."""

from pathlib import Path

import click

from nucleus_data.commands.group import run_stages
from nucleus_data.commands.support import (
    LocalPath,
    config_path,
    say,
    with_default_config,
    work_options,
)

CONFIG = "nano/demo.yaml"


@click.command()
@click.option(
    "--images", type=click.IntRange(40), default=240, show_default=True, help="Number of pictures."
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Seed; the same one makes the same pictures.",
)
@click.option(
    "--out",
    type=LocalPath(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="New folder for the pictures and their corpus.",
)
@with_default_config(CONFIG)
@work_options
def demo(
    images: int,
    seed: int,
    out: Path,
    limit: int | None,
    sample: float,
    dry_run: bool,
    config: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Run the whole line on synthetic pictures.

    Writes pictures with planted faults to a new folder, and runs every stage on them.
    """
    from nucleus_data.line.lines import LINES
    from nucleus_data.world import WorldSettings, write_world

    steps = LINES["all"].steps
    pictures = out.resolve() / "pictures"
    truth = out.resolve() / "truth.parquet"
    say(f"demo: {images} pictures with planted faults in {pictures} ({truth} lists them)")
    if dry_run:
        say(f"{', '.join(steps)}: not counted (depends on the pictures)")
        return
    settings = WorldSettings(images, seed, fault_share=0.25, strengths=(2, 1, 0))
    write_world(out, settings, progress=True)
    first = [f"corpus={out.resolve() / 'corpus'}", f"ingest.source={pictures}"]
    run_stages(
        "demo",
        steps,
        config=config or config_path(None, CONFIG),
        overrides=(*first, *overrides),
        limit=limit,
        sample=sample,
        dry_run=dry_run,
        chooses_at_start=True,
    )
