"""Lines: the names of stages that one command runs, in order.

Each stage is a line of its own. `pipelines/` has the same lists to submit to a cluster and to copy.
"""

from dataclasses import dataclass

from nucleus_data.line.recipe import STAGES


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


_CURATE = ("inspect", "dedup", "select", "embed", "select")

LINES: dict[str, Line] = {
    **{stage.name.replace("_", "-"): Line((stage.name,), stage.help) for stage in STAGES},
    # What is embedded is chosen by a selection, and the scores make another one.
    "embed": Line(
        ("select", "embed", "select"),
        "Embed and score what is kept or waits for its scores, and decide again.",
    ),
    "curate": Line(
        _CURATE, "inspect, dedup, select; embed what is left, and select by its scores."
    ),
    "recaption": Line(
        ("caption", "shard"), "Caption again (what changed only), and make the set anew."
    ),
    "all": Line(
        ("ingest", *_CURATE, "caption", "shard", "quick_train", "report"),
        "The whole line, from a source to the report.",
        chooses_at_start=True,
    ),
}
# In this order, since a selection, which captions need, does not outlive new rows of what it read.
RETRIED = tuple(stage.name for stage in reversed(STAGES) if stage.retried)
