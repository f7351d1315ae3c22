"""The function `nucleus_model.verdict`: a comparison of two training sets, called from Python."""

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
    """Compares two training sets by small trainings: is B better than A, in what, and how sure?

    Args:
        a: The baseline: the folder or URL of a set, with a suffix `@EDITION` if it has several
            caption editions; or an `Arm`.
        b: The set to judge, given in the same way.
        out: Local output folder; a killed comparison continues there.
        settings: The comparison's settings; by default six pairs of nano runs, and a claim about
            these two sets.
        reference: The set to evaluate on, which neither trains on; None to hold pictures out of
            both sets.
        clusters: Id -> cluster of duplicates, for a claim about recipes.
        storage_options: Options for fsspec, for sets that are given by URL.
        loop: Executes the runs; None for processes, one per core. These import the caller's main
            module: in a script, call this below `if __name__ == "__main__":`.
        progress: Called with the number of finished runs, and of all runs.

    Returns:
        The content of `out/verdict.json`: `sentence`, `word` (better, worse, mixed, no difference),
        `findings` (the six measures, each with its interval) and more.

    Raises:
        CorpusError: A set is damaged or incomplete.
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
    """Splits `SET@EDITION`; an `@` before a slash is part of the URL."""
    name, at, edition = text.rpartition("@")
    if not at or "/" in edition or not edition:
        return text, None
    return name, edition


def arm_of(text: str, storage_options: Mapping[str, Any] | None = None) -> Arm:
    """Makes an arm from a folder or URL, possibly with a suffix `@EDITION`."""
    folder, edition = split_edition(text)
    return Arm(folder, edition, storage_options or {}, name=folder)
