"""The command `nucleus`: each stage, the lines of stages, and looking at a corpus.

Exit codes: 0 done, 1 some shards failed, 2 the request was wrong.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from nucleus_data.commands.looking import LOOKING
from nucleus_data.commands.merge import merge
from nucleus_data.commands.sample import export_model, sample
from nucleus_data.commands.support import CONFIG_HELP, OpenRun, config_path, finish, work_options
from nucleus_data.commands.world import world

Step = Callable[[Any], Any]
DEMO_CONFIG = "nano/demo.yaml"
HELP = """\
Curate, caption and shard image corpora; prove by a quick training run that the data is good.

\b
Try it:     nucleus demo
Your own:   nucleus all corpus=my-corpus ingest.source=my-pictures
Settings:   any key of the configuration as KEY.SUB=VALUE; `nucleus config` lists them.
"""
LINES: dict[str, tuple[tuple[str, ...], str]] = {
    "ingest": (
        ("ingest",),
        "Take a folder, tars, img2dataset output or a URL list into the corpus.",
    ),
    "inspect": (("inspect",), "Decode every image once and measure its signals."),
    "dedup": (("dedup",), "Find all pairs of duplicates, exactly, and confirm each."),
    "select": (("select",), "Decide: rules, then one survivor of each duplicate cluster."),
    "embed": (
        ("select", "embed", "select"),
        "Embed and score what is kept or waits for its scores, and decide again.",
    ),
    "caption": (("caption",), "Caption the kept images with Qwen3-VL."),
    "shard": (("shard",), "Write the kept, captioned images as training shards."),
    "quick-train": (("quick_train",), "Train the bundled model on the training set, and sample."),
    "report": (("report",), "Write one HTML page about the corpus."),
    "curate": (
        ("inspect", "dedup", "select", "embed", "select"),
        "inspect, dedup, select; embed what is left, and select by its scores.",
    ),
    "recaption": (
        ("caption", "shard"),
        "Caption again (what changed only), and make the set anew.",
    ),
    "all": (
        (
            "ingest",
            *("inspect", "dedup", "select", "embed", "select"),
            *("caption", "shard", "quick_train", "report"),
        ),
        "The whole line, from a source to the report.",
    ),
}
# In the whole line, a limit or sample chooses what is ingested; the later stages take all of that.
CHOOSES_AT_START = ("all", "demo")
# In this order, since a selection, which captions need, does not outlive new rows of what it read.
RETRIED = ("caption", "embed", "inspect", "ingest")


@click.group(
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="nucleus-data")
def cli() -> None:
    """The group of all commands."""


def _add_line(name: str, steps: tuple[str, ...], text: str) -> None:
    @cli.command(name, help=text)
    @work_options
    def command(
        config: Path | None,
        overrides: tuple[str, ...],
        limit: int | None,
        sample: float,
        dry_run: bool,
    ) -> None:
        _run_line(name, steps, config, overrides, limit, sample, dry_run)


for _name, (_steps, _text) in LINES.items():
    _add_line(_name, _steps, _text)


for _command in (world, sample, export_model, merge, *LOOKING):
    cli.add_command(_command)


@cli.command()
@click.option(
    "--images", type=click.IntRange(40), default=240, show_default=True, help="Pictures in all."
)
@click.option("--seed", type=int, default=0, show_default=True, help="World.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder.",
)
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
    """Make a small world of pictures with planted faults, and run the whole line on it."""
    from nucleus_data.world import WorldSettings, write_world

    pictures = out.resolve() / "pictures"
    truth = out.resolve() / "truth.parquet"
    click.echo(f"demo: {images} pictures with planted faults in {pictures} ({truth} tells which)")
    if dry_run:
        click.echo(f"{', '.join(LINES['all'][0])}: depend on the pictures; not counted")
        return
    settings = WorldSettings(images, seed, fault_share=0.25, strengths=(2, 1, 0))
    write_world(out, settings, progress=True)
    first = [f"corpus={out.resolve() / 'corpus'}", f"ingest.source={pictures}"]
    config = config or config_path(None, DEMO_CONFIG)
    _run_line("demo", LINES["all"][0], config, (*first, *overrides), limit, sample, dry_run)


@cli.command()
@click.option("--config", type=click.Path(path_type=Path), help=CONFIG_HELP)
@click.argument("arguments", nargs=-1, metavar="[STAGE]... [KEY.SUB=VALUE]...")
def retry(arguments: tuple[str, ...], config: Path | None) -> None:
    """Do again what failed in a way that may pass: failed rows and failed shards, nothing else.

    STAGE is `ingest` (downloads of URL lists), `inspect`, `embed` or `caption`; all by default.
    """
    from nucleus_data.line import steps

    names = [a for a in arguments if "=" not in a]
    unknown = [s for s in names if s not in RETRIED]
    if unknown:
        allowed = ", ".join(reversed(RETRIED))
        raise click.UsageError(f"cannot retry {unknown[0]!r}; allowed: {allowed}")
    overrides = [a for a in arguments if "=" in a]
    with OpenRun("retry", config, overrides) as run:
        for stage in names or RETRIED:
            steps.retry(run, stage)
        finish(run)


def _run_line(
    name: str,
    steps: Sequence[str],
    config: Path | None,
    overrides: Sequence[str],
    limit: int | None,
    sample: float,
    dry_run: bool,
) -> None:
    from nucleus_data.line import steps as modules

    options: dict[str, Any] = {"limit": limit, "sample": sample}
    with OpenRun(
        name, config, overrides, dry_run=dry_run, create="ingest" in steps, **options
    ) as run:
        if name == "embed" and (dry_run or run.recipe.embed.model is None):
            steps = ("embed",)
        elif run.recipe.embed.model is None:
            steps = without_embedding(steps)
        for i, step in enumerate(steps):
            if dry_run and i > 0:
                click.echo(f"{', '.join(steps[i:])}: depend on what comes before; not counted")
                break
            modules.STEPS[step](run)
            if name in CHOOSES_AT_START:
                run.limit, run.sample = None, 1.0
        finish(run)


def without_embedding(steps: Sequence[str]) -> list[str]:
    """A line without `embed`, and without the second `select`, which is for its scores."""
    left = [step for step in steps if step != "embed"]
    return [step for i, step in enumerate(left) if left[i - 1 : i] != [step]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command and of the modules in `pipelines`."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        cli.main(args=list(arguments) if arguments is not None else None, prog_name="nucleus")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
        # Ray is shut down by now, and nothing else is left to end. An ordinary exit would let
        # DuckDB 2.0's bindings print a page about objects that pyarrow's threads still hold.
        os._exit(code)


if __name__ == "__main__":
    main()
