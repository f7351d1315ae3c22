"""`nucleus verdict --vary`: compares the recipe with variants that differ in a key.

Several values of one key are a sweep: one comparison per value, each with the same baseline.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nucleus_data.errors import RequestError
from nucleus_data.hashing import config_hash
from nucleus_data.pages.sweep import render_sweep, write_json
from nucleus_data.views.sides import Side, same
from nucleus_data.views.verdict import PAGE, verdict
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.compare import VERDICT, Progress
from nucleus_model.training.verdict.judge import Claim
from nucleus_model.training.verdict.loops import Loop, processes
from nucleus_model.training.verdict.plan import Arm
from nucleus_model.training.verdict.run import read_plan
from nucleus_model.training.verdict.shared import same_training, sharing

SWEEP, SWEEP_PAGE, VALUES = "sweep.json", "sweep.html", "values"
OWN = "own"


def sweep(
    a: Side,
    values: Sequence[tuple[Sequence[str], Side]],
    out: Path,
    settings: VerdictSettings,
    *,
    reference: Arm | None = None,
    clusters: dict[str, str] | None = None,
    loop: Loop | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compares the baseline with each value; writes `sweep.json` and `sweep.html`.

    Training runs of the baseline are reused for a later value if they would be identical: for
    example, if each value only removes pictures (`verdict.shared`).

    Args:
        a: The baseline: the recipe as it is.
        values: Changes (`key=value`) and training set of each value.
        out: Local folder; each comparison gets a folder below it.
        settings: Settings of each comparison.
        reference: The set to evaluate on; None to hold pictures out of both sets.
        clusters: Id -> cluster of copies.
        loop: Executes the runs; None for processes, one per core.
        progress: Called with the number of finished runs, and of all runs, of each comparison.

    Returns:
        The content of `sweep.json`. A value that can't be compared has a `problem` in it.

    Raises:
        As `compare` does; RequestError if no value can be compared.
    """
    earlier: list[Path] = []
    rows: list[dict[str, Any]] = []
    for changes, side in values:
        row: dict[str, Any] = {
            "changes": list(changes),
            "set": side.folder.path,
            "edition": side.edition,
            "kept": side.kept,
            "same": same(a, side),
        }
        rows.append(row)
        if row["same"]:
            continue
        name = f"{VALUES}/{config_hash(list(changes))[:8]}"
        try:
            content = verdict(
                a.arm,
                side.arm,
                out / name,
                settings,
                reference=reference,
                clusters=clusters,
                loop=sharing(loop or processes(), tuple(earlier)),
                progress=progress,
            )
        except RequestError as error:  # such as a value that keeps no picture
            row["problem"] = str(error)
            continue
        row["a_runs"] = _taken_from(out / name, earlier, content["replicates"][0])
        row |= _summary(content, name)
        earlier.append(out / name)
    if all("problem" in row for row in rows):
        raise RequestError(rows[0]["problem"])
    found: dict[str, Any] = {
        "values": rows,
        "as_it_is": {"set": a.folder.path, "edition": a.edition, "kept": a.kept},
        "preset": settings.preset,
        "claim": settings.claim,
        "about": Claim[settings.claim.upper()].value,
        "sentence": _sentence(rows),
    }
    write_json(out / SWEEP, found)
    (out / SWEEP_PAGE).write_text(render_sweep(found), encoding="utf-8", errors="replace")
    return found


def _summary(content: dict[str, Any], folder: str) -> dict[str, Any]:
    """Returns what `sweep.json` holds of a comparison."""
    loss = content["findings"][0]
    return {
        "folder": folder,
        "verdict": f"{folder}/{VERDICT}",
        "page": f"{folder}/{PAGE}",
        "pictures": {name: arm["pictures"] for name, arm in content["arms"].items()},
        "word": content["word"],
        "sentence": content["sentence"],
        "loss": {
            "a": loss["a"],
            "b": loss["b"],
            **{name: loss["interval"][name] for name in ("mean", "low", "high")},
            "direction": loss["direction"],
            "detectable": loss["detectable"],
        },
    }


def _taken_from(folder: Path, earlier: Sequence[Path], count: int) -> str:
    """Returns which comparison's baseline runs a value uses: `own`, or an earlier folder.

    This is determined from the plans, so that a resumed sweep gives the same answer.

    Args:
        folder: The value's folder.
        earlier: Folders of earlier comparisons.
        count: Number of replicates.
    """
    planned = read_plan(folder)
    for before in earlier:
        other = read_plan(before)
        if all(same_training(planned, other, number) for number in range(count)):
            return f"{VALUES}/{before.name}"
    return OWN


def _sentence(rows: Sequence[dict[str, Any]]) -> str:
    words = ["the same set" if row["same"] else row.get("word", "not compared") for row in rows]
    kinds = {
        "better": "better than the recipe as it is",
        "worse": "worse",
        "mixed": "better in one way and worse in another",
        "no difference": "not told apart from it",
        "the same set": "the same pictures as it has",
        "not compared": "not compared",
    }
    counts = [f"{words.count(word)} {text}" for word, text in kinds.items() if word in words]
    return f"of {len(rows)} values: {', '.join(counts)}"


def lines(content: dict[str, Any], out: Path) -> list[str]:
    """Returns lines about a sweep for a terminal."""
    found = [content["sentence"], f"about {content['about']}"]
    for row in content["values"]:
        kept = "" if row["kept"] is None else f", {row['kept']:,} kept"
        what = f"  {', '.join(row['changes'])}{kept}: "
        if row["same"]:
            found.append(f"{what}the same pictures and captions")
            continue
        found.append(f"{what}{row.get('sentence') or 'not compared: ' + row['problem']}")
    alone = [", ".join(r["changes"]) for r in content["values"] if r.get("a_runs") == OWN][1:]
    if alone:
        found.append(
            f"the recipe as it is was trained again for {'; '.join(alone)}: "
            "compared with other pictures, its own are seen in another order"
        )
    return [*found, str(out / SWEEP_PAGE)]
