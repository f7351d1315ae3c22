"""`nucleus verdict`: is this training set better than that one?"""

import json
from pathlib import Path
from typing import Any

import click

from nucleus_data.commands.support import complain, needing, refuse, say, say_json
from nucleus_data.errors import RequestError

EXIT_WORSE = 3


@click.command()
@click.argument("a", metavar="A[@EDITION]")
@click.argument("b", metavar="B[@EDITION]")
@click.option(
    "--reference",
    metavar="SET[@EDITION]",
    help="A set whose pictures and captions are the yardstick [pictures held out of both].",
)
@click.option(
    "--preset",
    type=click.Choice(("nano", "debug")),
    default="nano",
    show_default=True,
    help="nano gives a verdict; debug tries whether all works.",
)
@click.option(
    "--claim",
    type=click.Choice(("sets", "recipes")),
    default="sets",
    show_default=True,
    help="About these two sets, or about what made them.",
)
@click.option(
    "--seeds",
    "replicates",
    type=click.IntRange(3),
    default=6,
    show_default=True,
    help="Runs of each set.",
)
@click.option(
    "--half-width",
    type=click.FloatRange(0, min_open=True),
    help="Of the loss's interval: add seeds until it is reached.",
)
@click.option(
    "--most", type=click.IntRange(3), default=12, show_default=True, help="Seeds at most."
)
@click.option("--resolution", type=click.IntRange(8), help="Which of the sets' [the smallest].")
@click.option("--workers", type=click.IntRange(1), help="Runs at once [one a core].")
@click.option(
    "--storage-option",
    "storage",
    multiple=True,
    metavar="KEY=VALUE",
    help="For the store of the sets; repeatable. VALUE may be JSON.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("verdict"),
    show_default=True,
    help="Folder; what a killed comparison left there goes on.",
)
@click.option(
    "--dry-run", is_flag=True, help="What it would see and take; a few steps are timed, no more."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def verdict(
    a: str,
    b: str,
    reference: str | None,
    workers: int | None,
    storage: tuple[str, ...],
    out: Path,
    dry_run: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Compare two training sets by small trainings: is B better than A, where, and how sure?

    A and B are folders or URLs of sets that `nucleus shard` wrote, such as corpus/sets/train/HASH;
    an EDITION is the name of captions, for sets that have several. Both train equally long with
    the same seeds, on the same pictures where both have them. Exit code 3: B is worse.
    """
    with needing("train"):
        from nucleus_data.views import verdict as view
        from nucleus_model.settings.verdict import VerdictSettings
    from tqdm import tqdm

    if settings["most"] < settings["replicates"]:
        settings["most"] = settings["replicates"]
    try:
        options = dict(_option(text) for text in storage)
        one, other = (_arm(text, options) for text in (a, b))
        yardstick = None if reference is None else _arm(reference, options)
        chosen = VerdictSettings.model_validate(settings)
        if dry_run:
            foreseen = view.foresee(one, other, chosen, yardstick, workers)
            if as_json:
                say_json({k: v for k, v in foreseen.items() if k != "text"})
            for line in () if as_json else foreseen["text"]:
                say(line)
            return
        with tqdm(desc="verdict", unit=" runs", disable=None, delay=1) as bar:

            def show(done: int, of: int) -> None:
                bar.total, bar.n = of, done
                bar.refresh()

            content = view.verdict(
                one,
                other,
                out,
                chosen,
                reference=yardstick,
                workers=workers,
                progress=show,
                tell=complain,
            )
    except (RequestError, ValueError) as error:
        refuse(error)
    if as_json:
        say_json(content)
        complain(str(out / view.PAGE))
    else:
        for line in view.lines(content, out):
            say(line)
    if content["word"] == "worse":
        raise click.exceptions.Exit(EXIT_WORSE)


def _arm(text: str, options: dict[str, Any]) -> Any:
    """A set and its edition; an `@` before a slash belongs to the URL."""
    from nucleus_model.training.verdict.plan import Arm

    folder, at, edition = text.rpartition("@")
    if not at or "/" in edition or not folder:
        return Arm(text, storage_options=options)
    return Arm(folder, edition or None, options, name=folder)


def _option(text: str) -> tuple[str, Any]:
    key, found, value = text.partition("=")
    if not found or not key:
        raise RequestError(f"--storage-option {text!r}: give KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
