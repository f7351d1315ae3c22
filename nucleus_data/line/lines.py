"""Lines: which stages a command runs, in which order; and running a line from Python.

Each stage is also a line of its own. `pipelines/` has the same lists, to submit to a cluster or to
copy.
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
    """A sequence of stages that one command runs.

    Attributes:
        steps: Names of stages, in order.
        help: The command's help, one sentence.
        chooses_at_start: Whether a limit or sample applies to the first stage only; later stages
            then process everything that it took.
    """

    steps: tuple[str, ...]
    help: str
    chooses_at_start: bool = False


_CURATE = ("inspect", "dedup", "compare", "select", "embed", "score", "select")

LINES: dict[str, Line] = {
    **{stage.name.replace("_", "-"): Line((stage.name,), stage.help) for stage in STAGES},
    # A selection decides which records are embedded, and their scores allow another selection.
    "embed": Line(
        ("select", "embed", "score", "select"),
        "Embed and score what may still be kept, and select again.",
    ),
    "score": Line(("score", "select"), "Score stored embeddings, and select again."),
    "curate": Line(_CURATE, "Run inspect, dedup, compare, select, embed, score, select."),
    "recaption": Line(
        ("caption", "score_captions", "shard"),
        "Caption what is new or changed, and update the set.",
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
        "Run the whole line, from a source to the report.",
        chooses_at_start=True,
    ),
}
# Last stage first: retrying an earlier stage adds rows to tables that `select` reads, which
# invalidates the selection that captioning needs.
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
    """Runs a line of stages, as the command of that name does; for notebooks and programs.

    Args:
        recipe: From `load_recipe`.
        line: The name of a line (`curate`), or names of stages in order.
        limit: Work on at most this many records (the first ones).
        sample: Work on this share of the records, always the same ones.
        dry_run: Only count what would be done, and write nothing.
        inline: Work in this process, without Ray: for small corpora and for debuggers. A picture
            that crashes its decoder then ends this process.
        say: Receives the lines that a command would print.

    Returns:
        The run: `tables` holds the config hashes that it pinned, `failed_shards` how many shards
        could not be done.

    Raises:
        RequestError: There is no such line, or a stage lacks something it needs.
    """
    found = LINES.get(line) if isinstance(line, str) else Line(tuple(line), "")
    if found is None:
        raise RequestError(f"there is no line {line!r}; available: {', '.join(LINES)}")
    if inline and "quick_train" in found.steps:
        raise RequestError("quick_train needs Ray and cannot run inline; remove inline=True")
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
