"""A comparison as a call from Python: `nucleus_model.verdict`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.compare import Progress, compare
from nucleus_model.training.verdict.loops import Loop, processes
from nucleus_model.training.verdict.plan import Arm


def verdict(
    a: str | Path | Arm,
    b: str | Path | Arm,
    out: str | Path = "verdict",
    settings: VerdictSettings | None = None,
    *,
    reference: str | Path | Arm | None = None,
    clusters: Mapping[str, str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    loop: Loop | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compares two training sets by small trainings: is B better than A, where, and how sure?

    Args:
        a: The set that is there: its folder or URL, with `@EDITION` behind it where it has several
            caption editions; or an `Arm`.
        b: The set that it is compared with: the verdict is about B.
        out: Local folder; what a killed comparison left there goes on.
        settings: Defaults: six pairs of nano runs, about these two sets.
        reference: A set whose pictures and captions are the yardstick; None for pictures that are
            held out of both.
        clusters: Id -> cluster of copies, for a claim about recipes.
        storage_options: For fsspec, for sets that are given by URL.
        loop: Does the runs; None for processes, one a core. These import the caller's main module:
            in a script, call this below `if __name__ == "__main__":`.
        progress: Called with how many runs are done, and of how many.

    Returns:
        What `out/verdict.json` holds: `sentence`, `word` (better, worse, mixed, no difference),
        `findings` (the six measures, each with its interval) and more.

    Raises:
        CorpusError: A set is not as it should be.
        RequestError: The sets can't be compared, or `out` holds another comparison.
    """

    def arm(given: str | Path | Arm) -> Arm:
        return given if isinstance(given, Arm) else arm_of(str(given), storage_options)

    return compare(
        arm(a),
        arm(b),
        Path(out),
        settings,
        reference=None if reference is None else arm(reference),
        clusters=clusters,
        loop=loop or processes(),
        progress=progress,
    )


def split_edition(text: str) -> tuple[str, str | None]:
    """`SET@EDITION` as both; an `@` before a slash belongs to the URL."""
    name, at, edition = text.rpartition("@")
    if not at or "/" in edition or not edition:
        return text, None
    return name, edition


def arm_of(text: str, storage_options: Mapping[str, Any] | None = None) -> Arm:
    """The arm of a folder or URL, or `FOLDER@EDITION`."""
    folder, edition = split_edition(text)
    return Arm(folder, edition, storage_options or {}, name=folder)
