"""Lines: the names of stages that one command runs, in order; and running one from Python.

Each stage is a line of its own. `pipelines/` has the same lists to submit to a cluster and to copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from nucleus_data.errors import RequestError
from nucleus_data.line.recipe import STAGES, Recipe
from nucleus_data.line.steps import open_run, run_steps
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.runner.run import Choice, Run, Say
from nucleus_data.runner.workers import Workers


@dataclass(frozen=True)
class Line:
    """Stages in order, and a sentence about them.

    Attributes:
        steps: Names of stages.
        help: For `nucleus --help`.
        chooses_at_start: A limit or sample chooses what the first stage takes; the later ones take
            all of that.
    """

    steps: tuple[str, ...]
    help: str
    chooses_at_start: bool = False


_CURATE = ("inspect", "dedup", "compare", "select", "embed", "score", "select")

LINES: dict[str, Line] = {
    **{stage.name.replace("_", "-"): Line((stage.name,), stage.help) for stage in STAGES},
    # What is embedded is chosen by a selection, and the scores make another one.
    "embed": Line(
        ("select", "embed", "score", "select"),
        "Embed and score what is kept or waits for its scores, and decide again.",
    ),
    "score": Line(("score", "select"), "Score what is embedded, and decide again."),
    "curate": Line(
        _CURATE,
        "inspect, dedup, compare, select; embed and score what is left, and select by its scores.",
    ),
    "recaption": Line(
        ("caption", "score_captions", "shard"),
        "Caption again (what changed only), and make the set anew.",
    ),
    "all": Line(
        (
            "ingest",
            *_CURATE,
            "caption",
            "score_captions",
            "shard",
            "encode",
            "quick_train",
            "report",
        ),
        "The whole line, from a source to the report.",
        chooses_at_start=True,
    ),
}
# In this order, since a selection, which captions need, does not outlive new rows of what it read.
RETRIED = tuple(stage.name for stage in reversed(STAGES) if stage.retried)


def run_line(
    recipe: Recipe,
    line: str | Sequence[str],
    *,
    limit: int | None = None,
    sample: float = 1.0,
    dry_run: bool = False,
    inline: bool = False,
    say: Say = print,
) -> Run:
    """Runs a line of stages, as the command of its name does; for notebooks and programs.

    Args:
        recipe: From `load_recipe`.
        line: The name of a line (`curate`), or names of stages in order.
        limit: Work on at most this many records (the first ones).
        sample: Work on this share of the records, always the same ones.
        dry_run: Count, do no work, write nothing.
        inline: Work in this process, without Ray: for small corpora and for a debugger. A picture
            that kills its decoder then ends this process.
        say: Where lines for people go.

    Returns:
        The run: `tables` holds the config hashes that it pinned, `failed_shards` how many shards
        could not be done.

    Raises:
        RequestError: There is no such line, or something that a stage needs is missing.
    """
    found = LINES.get(line) if isinstance(line, str) else Line(tuple(line), "")
    if found is None:
        raise RequestError(f"there is no line {line!r}; there are: {', '.join(LINES)}")
    if inline and "quick_train" in found.steps:
        raise RequestError("quick_train runs as a task of Ray; leave inline out")
    name = line if isinstance(line, str) else "-".join(dict.fromkeys(found.steps))
    with Workers(recipe.ray) as workers:
        run = open_run(
            recipe,
            name,
            choice=Choice(limit, sample),
            dry_run=dry_run,
            create="ingest" in found.steps,
            loop=InlineLoop if inline else None,
            workers=workers,
            steps=() if inline else found.steps,
            say=say,
            pasted=name in LINES,
        )
        stages = recipe.stages()
        run_steps(run, stages, found.steps, chooses_at_start=found.chooses_at_start)
    return run
