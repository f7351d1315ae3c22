"""`--vary`: the recipe as it is, against itself with a key changed; several values are a sweep."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nucleus_data.hashing import config_hash
from nucleus_data.pages.sweep import render_sweep, write_json
from nucleus_data.views.sides import Side, same
from nucleus_data.views.verdict import PAGE, verdict
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.compare import VERDICT, Progress
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
    """Compares the recipe as it is with each value; writes `sweep.json` and `sweep.html`.

    A run of the recipe as it is serves several values where these leave the order of training as
    it is: where each takes pictures away and adds none, for example.

    Args:
        a: The recipe as it is.
        values: The changes and the set of each value.
        out: Local folder; each comparison has a folder of its own below it.
        settings: Of each comparison.
        reference: The yardstick; None for pictures that are held out of both.
        clusters: Id -> cluster of copies.
        loop: Does the runs.
        progress: Called with how many runs are done, and of how many, of each comparison.

    Returns:
        The content of `sweep.json`.

    Raises:
        As `compare` does.
    """
    earlier: list[Path] = []
    rows = []
    for changes, side in values:
        row: dict[str, Any] = {
            "changes": list(changes),
            "set": side.folder.path,
            "edition": side.edition,
            "kept": side.kept,
        }
        if same(a, side):
            rows.append({**row, "same": True})
            continue
        name = f"{VALUES}/{config_hash(list(changes))[:8]}"
        sharer = sharing(loop or processes(), tuple(earlier))
        content = verdict(
            a.arm,
            side.arm,
            out / name,
            settings,
            reference=reference,
            clusters=clusters,
            loop=sharer,
            progress=progress,
        )
        taken = _taken_from(out / name, earlier, content["replicates"][0])
        earlier.append(out / name)
        rows.append({**row, "same": False, "a_runs": taken, **_told(content, name)})
    found: dict[str, Any] = {
        "values": rows,
        "as_it_is": {"set": a.folder.path, "edition": a.edition, "kept": a.kept},
        "preset": settings.preset,
        "claim": settings.claim,
    }
    found["sentence"] = _sentence(rows)
    write_json(out / SWEEP, found)
    (out / SWEEP_PAGE).write_text(render_sweep(found), encoding="utf-8", errors="replace")
    return found


def _told(content: dict[str, Any], folder: str) -> dict[str, Any]:
    """What the sweep repeats of a comparison."""
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
    """Whose runs of the recipe as it is serve this value: `own`, or an earlier value's.

    It follows from the plans, so a sweep that was killed says the same.
    """
    planned = read_plan(folder)
    for before in earlier:
        other = read_plan(before)
        if all(same_training(planned, other, number) for number in range(count)):
            return f"{VALUES}/{before.name}"
    return OWN


def _sentence(rows: Sequence[dict[str, Any]]) -> str:
    words = [row["word"] if not row["same"] else "the same set" for row in rows]
    kinds = {
        "better": "better than the recipe as it is",
        "worse": "worse",
        "mixed": "better in one way and worse in another",
        "no difference": "not told apart from it",
        "the same set": "the same pictures as it has",
    }
    counts = [f"{words.count(word)} {text}" for word, text in kinds.items() if word in words]
    return f"of {len(rows)} values: {', '.join(counts)}"


def lines(content: dict[str, Any], out: Path) -> list[str]:
    """What is said of a sweep on a terminal."""
    said = [content["sentence"]]
    for row in content["values"]:
        kept = "" if row["kept"] is None else f", {row['kept']:,} kept"
        what = f"  {', '.join(row['changes'])}{kept}: "
        if row["same"]:
            said.append(f"{what}the same pictures and captions")
            continue
        said.append(f"{what}{row['sentence']}")
    alone = [", ".join(r["changes"]) for r in content["values"] if r.get("a_runs") == OWN][1:]
    if alone:
        said.append(
            "the recipe as it is was trained anew for "
            f"{'; '.join(alone)}: with other pictures beside it, its own are met in another order"
        )
    return [*said, str(out / SWEEP_PAGE)]
