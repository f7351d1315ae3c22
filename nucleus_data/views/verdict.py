"""`nucleus verdict`: two training sets compared; its page, and what is said on a terminal."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import simplejpeg

from nucleus_data.pages.pictures import Picture, data_uri
from nucleus_data.pages.verdict import render_verdict
from nucleus_data.pixels import PixelError
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.compare import Progress, compare
from nucleus_model.training.verdict.loops import Loop, processes
from nucleus_model.training.verdict.plan import Arm, Planned
from nucleus_model.training.verdict.run import RunSpec, read_plan

PAGE = "verdict.html"
GRIDS = 2  # seeds whose samples are shown
SHOWN = 40  # pictures of each end that the page has
QUALITY = 85


def verdict(
    a: Arm,
    b: Arm,
    out: Path,
    settings: VerdictSettings,
    *,
    reference: Arm | None = None,
    clusters: Mapping[str, str] | None = None,
    workers: int | None = None,
    loop: Loop | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compares two training sets, and writes `verdict.html` beside `verdict.json`.

    Args:
        a: The set that is there.
        b: The set that it is compared with.
        out: Local folder; what a killed comparison left there goes on.
        settings: The comparison's.
        reference: The yardstick; None for pictures that are held out of both.
        clusters: Id -> cluster of copies, for a claim about recipes.
        workers: Runs at once, in processes; None for one a core.
        loop: Does the runs, in place of processes.
        progress: Called with how many runs are done, and of how many.

    Returns:
        The content of `verdict.json`.

    Raises:
        As `compare` does.
    """
    content = compare(
        a,
        b,
        out,
        settings,
        reference=reference,
        clusters=clusters,
        loop=loop or processes(workers),
        progress=progress,
    )
    options = {
        name: arm.storage_options
        for name, arm in (("a", a), ("b", b), ("reference", reference))
        if arm is not None
    }
    planned = read_plan(out, options)
    # The page shows fewer than the JSON names, so that it can be sent by mail.
    ids = {row["id"] for end in ("gained", "lost") for row in content[end][:SHOWN]}
    page = render_verdict(content, _pictures(planned, ids), _grids(out, content))
    (out / PAGE).write_text(page, encoding="utf-8", errors="replace")
    return content


def lines(content: Mapping[str, Any], out: Path) -> Iterator[str]:
    """What is said on a terminal: the sentence, the six measures, where the page is."""
    yield content["sentence"]
    for finding in content["findings"]:
        interval = finding["interval"]
        ends = [
            "unbounded" if interval[end] is None else f"{interval[end]:+.4f}"
            for end in ("low", "high")
        ]
        word = {1: "better", -1: "worse", 0: "not told apart"}[finding["direction"]]
        yield (
            f"  {finding['measure']['name']:<12} {finding['a']:.4f} {finding['b']:.4f}  "
            f"{interval['mean']:+.4f} ({' to '.join(ends)})  {word}"
        )
    if content["reference"]["note"]:
        yield content["reference"]["note"]
    yield str(out / PAGE)


def _pictures(planned: Planned, ids: set[str]) -> dict[str, Picture]:
    """Thumbnails of reference pictures, as the models met them."""
    found = {}
    for name, arm in planned.arms.items():
        rows = planned.pictures.to_pylist()
        mine = {row["id"] for row in rows if row["id"] in ids and row["read_from"] == name}
        if not mine:
            continue
        opened = arm.open(planned.settings)
        for sample in (s for s in opened.samples if s.id in mine):
            try:
                jpeg = simplejpeg.encode_jpeg(opened.image(sample), quality=QUALITY)
                found[sample.id] = Picture(data_uri("image/jpeg", jpeg))
            except (PixelError, ValueError) as error:
                found[sample.id] = Picture(None, str(error))
    return found


def _grids(out: Path, content: Mapping[str, Any]) -> list[tuple[int, dict[str, bytes]]]:
    """Samples of the first seeds, as the runs drew them."""
    shown = range(min(GRIDS, *content["replicates"]))
    return [
        (
            seed,
            {
                arm: (RunSpec(str(out), arm, seed).folder / "samples.png").read_bytes()
                for arm in ("a", "b")
            },
        )
        for seed in shown
    ]
