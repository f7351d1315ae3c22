"""Options, checks and output that `nucleus verdict` and `nucleus quick-train --against` share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from nucleus_data.commands.support import LocalPath, Number, complain, say, say_json
from nucleus_data.corpus.told import key_of
from nucleus_data.engines.find import TEXT_ENCODER, resolve_model
from nucleus_data.errors import RequestError

# By the verdict's word. A mixed verdict may hide a set that is worse in all but one measure, so a
# gate must not take it for a pass.
EXIT_CODES = {"worse": 3, "mixed": 4}
TEXT = replace(TEXT_ENCODER, key="--text", revision_key="--text-revision")
SETS, RECIPES = "sets", "recipes"
LAST_STATE = -1
MOST = 12  # seeds, unless --most or --seeds say otherwise
SETTINGS = ("preset", "replicates", "half_width", "most", "resolution")
TRAINING = "quick_train"
# Keys of `quick_train` for which a comparison has an option, and the only key that it accepts.
INSTEAD = {"preset": "--preset", "resolution": "--resolution", "seed": "--seeds"}
ALLOWED = (f"{TRAINING}.edition",)


def comparison_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of a comparison."""
    for option in reversed(
        [
            click.option(
                "--reference",
                metavar="SET[@EDITION]",
                help="Training set to evaluate on, which neither side trains on [default: pictures "
                "held out of both].",
            ),
            click.option(
                "--preset",
                type=click.Choice(("nano", "debug")),
                default="nano",
                show_default=True,
                help="How both sides train: nano gives a verdict; debug is a quick smoke test.",
            ),
            click.option(
                "--claim",
                type=click.Choice((SETS, RECIPES)),
                help="What the verdict is about: these two sets, or the recipes that made them, "
                "on this corpus. For recipes, each seed trains on another 80 % of the pictures, "
                "duplicates kept together. These parts overlap, so it is no claim about other "
                "corpora [default: sets; with --vary: recipes].",
            ),
            click.option(
                "--seeds",
                "replicates",
                type=click.IntRange(3),
                default=6,
                show_default=True,
                help="Training runs per side, each with another seed.",
            ),
            click.option(
                "--half-width",
                type=Number(0, min_open=True),
                help="Add seeds until the loss's confidence interval has this half-width.",
            ),
            click.option(
                "--most",
                type=click.IntRange(3),
                help="Maximum number of seeds [default: 12, or --seeds if that is more].",
            ),
            click.option(
                "--text",
                metavar="MODEL",
                help="Text encoder for both sides, needed if captions use other words than the "
                "synthetic world's: a folder or hub name of a sentence encoder such as all-MiniLM, "
                "or of a Qwen3-VL [default: the packaged one].",
            ),
            click.option(
                "--text-revision", metavar="REV", help="Commit or tag of --text, for a hub name."
            ),
            click.option(
                "--text-state",
                type=int,
                default=LAST_STATE,
                show_default=True,
                help="Index of the hidden state of --text; -8 is the published one for Qwen3-VL.",
            ),
            click.option(
                "--resolution",
                type=click.IntRange(8),
                help="Which of the sets' resolutions to use [default: the smallest].",
            ),
            click.option(
                "--out",
                type=LocalPath(file_okay=False, path_type=Path),
                default=Path("verdict"),
                show_default=True,
                help="Output folder; a killed comparison continues there.",
            ),
            click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts."),
        ]
    ):
        command = option(command)
    return command


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuses overrides of how the sides train. Raises RequestError."""
    for override in overrides:
        key = key_of(override)
        if key.partition(".")[0] != TRAINING or key in ALLOWED:
            continue
        instead = INSTEAD.get(key.removeprefix(f"{TRAINING}."))
        raise RequestError(
            f"{override!r}: in a comparison, the preset decides how both sides train (steps, "
            "batches, learning rates), so that only their data differs; "
            + (f"use {instead} instead" if instead else "remove it")
        )


def settings_of(given: Mapping[str, Any], claim: str) -> Any:
    """Builds the comparison's settings from options. Raises ValueError, RequestError."""
    from nucleus_model.settings.verdict import VerdictSettings

    chosen = {name: given[name] for name in SETTINGS}
    most, seeds = chosen["most"], chosen["replicates"]
    if most is not None and most < seeds:
        raise RequestError(
            f"--most {most} is less than --seeds {seeds}: raise --most or lower --seeds"
        )
    chosen["most"] = max(MOST, seeds) if most is None else most
    if given["text"] is not None:
        chosen["text"] = _text(given["text"], given["text_revision"], given["text_state"])
    elif given["text_revision"] is not None or given["text_state"] != LAST_STATE:
        option = "--text-revision" if given["text_revision"] is not None else "--text-state"
        raise RequestError(f"{option} can only be used with --text MODEL")
    return VerdictSettings.model_validate({**chosen, "claim": claim})


def _text(model: str, revision: str | None, state: int) -> dict[str, Any]:
    """Resolves the model of `--text`, with its current revision."""
    found = resolve_model(model, revision, TEXT)
    where = str(Path(found.location).resolve()) if found.local else found.location
    return {"model": where, "revision": found.revision, "hidden_state": state}


@contextmanager
def bar() -> Iterator[Callable[[int, int], None]]:
    """A progress bar of runs."""
    from tqdm import tqdm

    with tqdm(desc="verdict", unit=" runs", disable=None, delay=1) as shown:

        def show(done: int, of: int) -> None:
            shown.total, shown.n = of, done
            shown.refresh()

        yield show


def copies(sides: Sequence[Any], claim: str, tell: Callable[[str], None]) -> dict[str, str] | None:
    """Clusters of copies where the claim draws them; says which sides have none."""
    if claim != RECIPES:
        return None
    from nucleus_data.views.copied import clusters_of

    found, notes = clusters_of(sides)
    for note in notes:
        tell(note)
    return found


def end(content: Mapping[str, Any], out: Path, *, as_json: bool) -> None:
    """Says a verdict, and ends with its exit code: see `EXIT_CODES`."""
    from nucleus_data.views import verdict as view

    if as_json:
        say_json(content)
        complain(str(out / view.PAGE))
    else:
        for line in view.lines(content, out):
            say(line)
    if code := EXIT_CODES.get(content["word"]):
        raise click.exceptions.Exit(code)
