"""The command `nucleus`: each stage, the lines of stages, and looking at a corpus.

Exit codes: 0 done, 1 some shards failed, 2 the request was wrong.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import click

from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.world_command import world

Step = Callable[[Any], Any]
DEFAULT_CONFIG = "nano/recipe.yaml"
DEMO_CONFIG = "nano/demo.yaml"
CONFIG_HELP = "YAML file [default: configs/nano/recipe.yaml]."
HELP = """\
Curate, caption and shard image corpora; prove by a quick training run that the data is good.

\b
Try it:     nucleus demo
Your own:   nucleus all corpus=my-corpus ingest.source=my-pictures
Settings:   any key of the configuration as KEY.SUB=VALUE; `nucleus config` lists them.
"""
EXIT_FAILED = 1
EXIT_REQUEST = 2
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


class Share(click.ParamType):
    """A share: `1%` or `0.01`."""

    name = "share"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Text to a number above 0 and at most 1."""
        if isinstance(value, float):
            return value
        try:
            share = float(value.rstrip("%")) / (100 if value.endswith("%") else 1)
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            self.fail(
                f"{value!r} is not a share; allowed: above 0% to 100%, for example 1% or 0.01"
            )
        return share


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        [
            click.option(
                "--config",
                type=click.Path(path_type=Path),
                help=CONFIG_HELP,
            ),
            click.argument("overrides", nargs=-1, metavar="[KEY.SUB=VALUE]..."),
        ]
    ):
        command = option(command)
    return command


def _work_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        [
            click.option(
                "--limit", type=click.IntRange(1), help="At most this many records, the first ones."
            ),
            click.option(
                "--sample",
                type=Share(),
                default=1.0,
                help="A share of the records, e.g. 1%; always the same ones.",
            ),
            click.option(
                "--dry-run", is_flag=True, help="Count what would be done, and do nothing."
            ),
        ]
    ):
        command = option(command)
    return _options(command)


@click.group(
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="nucleus-data")
def cli() -> None:
    """The group of all commands."""


def _add_line(name: str, steps: tuple[str, ...], text: str) -> None:
    @cli.command(name, help=text)
    @_work_options
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


cli.add_command(world)


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
@_work_options
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
    config = config or _config_path(None, DEMO_CONFIG)
    _run_line("demo", LINES["all"][0], config, (*first, *overrides), limit, sample, dry_run)


@cli.command()
@click.option("--config", type=click.Path(path_type=Path), help=CONFIG_HELP)
@click.argument("arguments", nargs=-1, metavar="[STAGE]... [KEY.SUB=VALUE]...")
def retry(arguments: tuple[str, ...], config: Path | None) -> None:
    """Do again what failed in a way that may pass: failed rows and failed shards, nothing else.

    STAGE is `ingest` (downloads of URL lists), `inspect`, `embed` or `caption`; all by default.
    """
    from nucleus_data import steps

    names = [a for a in arguments if "=" not in a]
    unknown = [s for s in names if s not in RETRIED]
    if unknown:
        allowed = ", ".join(reversed(RETRIED))
        raise click.UsageError(f"cannot retry {unknown[0]!r}; allowed: {allowed}")
    overrides = [a for a in arguments if "=" in a]
    with _run("retry", config, overrides) as run:
        for stage in names or RETRIED:
            steps.retry(run, stage)
        _finish(run)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@_options
def status(as_json: bool, config: Path | None, overrides: tuple[str, ...]) -> None:
    """What a corpus holds: records, tables, selections, training sets, runs."""
    from nucleus_data import inspect_corpus

    with _run("status", config, overrides, dry_run=True, ray=False) as run:
        content = inspect_corpus.status(run)
        click.echo(
            json.dumps(content) if as_json else "\n".join(inspect_corpus.status_lines(content))
        )


@cli.command()
@click.argument("record_id")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@_options
def explain(record_id: str, as_json: bool, config: Path | None, overrides: tuple[str, ...]) -> None:
    """One record's whole story: where it came from, what was measured, why it was kept or not."""
    from nucleus_data import inspect_corpus

    with _run("explain", config, overrides, dry_run=True, ray=False) as run:
        story = inspect_corpus.explain(run.corpus, record_id)
        if as_json:
            click.echo(json.dumps(story, default=_jsonable))
        else:
            click.echo("\n".join(inspect_corpus.explain_lines(story)))


@cli.command("what-if")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@_work_options
def what_if(
    as_json: bool,
    config: Path | None,
    overrides: tuple[str, ...],
    limit: int | None,
    sample: float,
    dry_run: bool,
) -> None:
    """What other rules would change: counts, and a page of pictures that would leave and enter.

    Compared with the selection that there is; nothing is written but that page. Arguments as those
    of `select`; `rules.NAME=...`, `prefer=...` and `drop_duplicates=...` need no `select.`.
    """
    from nucleus_data import compare_steps
    from nucleus_data.recipe import load_recipe

    asked = compare_steps.spelled_out(overrides)
    try:
        changed = load_recipe(_config_path(config), asked)
    except RequestError as error:
        _refuse(error)
    options: dict[str, Any] = {"limit": limit, "sample": sample, "dry_run": dry_run}
    base = compare_steps.without_select(asked)
    with _run("what-if", config, base, say=_aside(as_json), **options) as run:
        _show(compare_steps.what_if(run, changed), as_json)
        _finish(run)


@cli.command()
@click.argument("before")
@click.argument("after")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@_options
def diff(
    before: str, after: str, as_json: bool, config: Path | None, overrides: tuple[str, ...]
) -> None:
    """Compare two selections: counts, and a page of pictures that leave and enter.

    BEFORE and AFTER are config hashes of selections (their beginnings are enough) or names of runs.
    """
    from nucleus_data import compare_steps

    with _run("diff", config, overrides, ray=False, say=_aside(as_json)) as run:
        _show(compare_steps.diff(run, before, after), as_json)


def _aside(as_json: bool) -> Callable[[str], None]:
    """Where a command's own lines go: not where a script reads JSON."""
    return partial(click.echo, err=True) if as_json else click.echo


def _show(content: dict[str, Any], as_json: bool) -> None:
    from nucleus_data.compare_steps import lines

    if content:
        click.echo(json.dumps(content) if as_json else "\n".join(lines(content)))


@cli.command()
@click.argument("target")
@_options
def export(target: str, config: Path | None, overrides: tuple[str, ...]) -> None:
    """Write the kept records (ids, keys, URLs, upstream columns) to TARGET (.parquet or .csv)."""
    from nucleus_data import inspect_corpus, steps

    with _run("export", config, overrides, dry_run=True, ray=False) as run:
        steps.use_selection(run)
        count = inspect_corpus.export(run, target)
        click.echo(f"{count:,} kept records\n{target}")


@cli.command(name="config")
@_options
def show_config(config: Path | None, overrides: tuple[str, ...]) -> None:
    """List every setting with its value and what it means."""
    from nucleus_data.recipe import describe_settings, load_recipe

    try:
        values = load_recipe(_config_path(config), overrides).public()
    except RequestError as error:
        _refuse(error)
    for key, default, text in describe_settings():
        value: Any = values
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        now = json.dumps(value)
        click.echo(f"{key} = {now if len(now) < 100 else now[:97] + '...'}")
        click.echo(
            f"    {text} (default: {default if len(default) < 80 else default[:77] + '...'})"
        )


@cli.command()
@_options
def check(config: Path | None, overrides: tuple[str, ...]) -> None:
    """Check a whole configuration, without a corpus and without weights.

    Rules are parsed, models looked up, and the transformer is built on the meta device.
    """
    from nucleus_data.checking import check as lines
    from nucleus_data.recipe import load_recipe

    try:
        path = _config_path(config)
        for line in lines(load_recipe(path, overrides)):
            click.echo(line)
        click.echo(f"{path} is sound")
    except RequestError as error:
        _refuse(error)


def _run_line(
    name: str,
    steps: Sequence[str],
    config: Path | None,
    overrides: Sequence[str],
    limit: int | None,
    sample: float,
    dry_run: bool,
) -> None:
    from nucleus_data import steps as modules

    options: dict[str, Any] = {"limit": limit, "sample": sample}
    with _run(name, config, overrides, dry_run=dry_run, create="ingest" in steps, **options) as run:
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
        _finish(run)


def without_embedding(steps: Sequence[str]) -> list[str]:
    """A line without `embed`, and without the second `select`, which is for its scores."""
    left = [step for step in steps if step != "embed"]
    return [step for i, step in enumerate(left) if left[i - 1 : i] != [step]]


class _run:
    """A configured run inside a Ray cluster; errors become messages and exit codes."""

    def __init__(
        self,
        command: str,
        config: Path | None,
        overrides: Sequence[str],
        *,
        ray: bool = True,
        say: Callable[[str], None] = click.echo,
        **options: Any,
    ) -> None:
        self.command = command
        self.config = config
        self.overrides = overrides
        self.say = say
        self.ray = ray and not options.get("dry_run")
        self.options = options
        self.cluster: Any = nullcontext()

    def __enter__(self) -> Any:
        from nucleus_data.recipe import load_recipe
        from nucleus_data.run import Run
        from nucleus_data.runner.cluster import connected

        try:
            path = _config_path(self.config)
            recipe = load_recipe(path, self.overrides)
            run = Run(recipe, self.command, say=self.say, **self.options)
            if run.name:
                self.say(f"{self.command}: {path}; run {run.name}")
            if self.ray:
                self.cluster = connected(recipe.ray)
            self.cluster.__enter__()
        except (RequestError, CorpusError) as error:
            _refuse(error)
        return run

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.cluster.__exit__(None, None, None)
        if isinstance(error, RequestError):
            _refuse(error)
        if isinstance(error, CorpusError):
            click.echo(f"error: {error}", err=True)
            sys.exit(EXIT_FAILED)
        if isinstance(error, KeyboardInterrupt):
            click.echo(
                "\nstopped; what was committed stays. Run the same command to go on", err=True
            )
            sys.exit(130)


def _finish(run: Any) -> None:
    if run.failed_shards:
        click.echo(f"{run.failed_shards} shards failed; everything else is done", err=True)
        sys.exit(EXIT_FAILED)


def _refuse(error: Exception) -> Any:
    click.echo(f"error: {error}", err=True)
    sys.exit(EXIT_REQUEST)


def _config_path(given: Path | None, name: str = DEFAULT_CONFIG) -> Path:
    """The configuration file: the one given, or the repository's or package's own."""
    if given is not None:
        return given
    path = Path(__file__).resolve().parents[1] / "configs" / name
    if path.is_file():
        return path
    raise RequestError(f"no configs/{name} beside the package; give --config FILE")


def _jsonable(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)


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
