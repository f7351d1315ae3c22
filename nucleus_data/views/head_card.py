"""Writes the card of a trained head: its data, its accuracy with intervals, its limits."""

from collections.abc import Mapping
from typing import Any

CARD = "README.md"


def card(name: str, facts: Mapping[str, Any]) -> str:
    """Returns a head's section of the card, as Markdown.

    Args:
        name: The head's name.
        facts: The facts collected by `views.train_head`.
    """
    trained, (low, high) = facts["trained"], facts["range"]
    network = "ridge regression" if facts["kind"] == "value" else "logistic regression"
    folds = ", ".join(f"{found:.3f}" for found in trained.folds)
    penalties = ", ".join(f"{penalty:g}" for penalty in trained.penalties)
    width = trained.head.width
    lines = [
        f"## {name}",
        "",
        f"A {facts['kind']}: one linear layer on vectors of {width} numbers, {network}, penalty "
        f"{trained.penalty:g}.",
        "",
        "| what | figure |",
        "|---|---|",
        f"| ratings | `{facts['file']}` (SHA-256 {facts['content']}...): {facts['rows']} |",
        f"| pictures | {facts['pictures']:,}, in {facts['clusters']:,} clusters of copies |",
        f"| ratings, mean of each picture | {low:g} to {high:g}, deviation "
        f"{facts['deviation']:.3g} |",
        f"| raters | {_raters(facts)} |",
        f"| rank correlation (Spearman), cross-validated | {trained.correlation:.3f}, 95 % "
        f"{trained.low:.3f} to {trained.high:.3f} (bootstrap by cluster) |",
        f"| in each of {facts['folds']} folds | {folds} |",
        f"| off by, cross-validated (root of the mean square) | {trained.error:.3g}; the mean of "
        f"all would be by {facts['deviation']:.3g} |",
        f"| penalties chosen without each fold | {penalties} |",
        "",
        f"Folds are by keyed hash of the cluster, seed {facts['seed']}: no copy of a picture is in "
        "two of them. Each fold's penalty was chosen without it; the head that is stored was then "
        "trained on all pictures.",
        "",
        "Limits: it knows these raters, and pictures like these; of others it says something all "
        f"the same. It reads vectors of {facts['model']}, revision {facts['revision']}, and no "
        "others. A picture that is not like those rated should be rated before it is judged by it.",
        "",
    ]
    return "\n".join(lines)


def _raters(facts: Mapping[str, Any]) -> str:
    """Describes the number of raters and their agreement."""
    if not facts["raters"]:
        return "not told"
    agreement = facts["agreement"]
    if agreement is None:
        return f"{facts['raters']}; no two rated the same picture"
    return (
        f"{facts['raters']}; one agrees with the mean of the others on the same pictures at "
        f"{agreement:.3f} (rank correlation)"
    )
