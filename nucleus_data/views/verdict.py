"""`nucleus verdict`: two training sets compared; its page, and what is said on a terminal."""

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nucleus_data.engines.find import NANO
from nucleus_data.errors import CorpusError
from nucleus_data.pages.pictures import Picture, data_uri
from nucleus_data.pages.verdict import Sample, called, missed, render_verdict, unread
from nucleus_data.pixels import PixelError
from nucleus_data.printed import counted
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.compare import Progress, Tell, compare
from nucleus_model.training.verdict.content import are_equal, are_pairs, shared
from nucleus_model.training.verdict.forecast import forecast
from nucleus_model.training.verdict.loops import Loop, processes
from nucleus_model.training.verdict.plan import Arm, Planned, plan_comparison
from nucleus_model.training.verdict.power import power, said
from nucleus_model.training.verdict.run import RunSpec, read_plan
from nucleus_model.training.verdict.sentence import UNREAD

PAGE = "verdict.html"
DRAWN = "samples.json"
GRIDS = 3  # seeds whose samples are shown
SHOWN = 100  # pictures of each end that the page has
SIDE, QUALITY = 160, 82  # of a thumbnail: a page of 200 can be sent by mail


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
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Compares two training sets, and writes `verdict.html` beside `verdict.json`.

    Args:
        a: The baseline set.
        b: The set to judge.
        out: Local output folder; a killed comparison continues there.
        settings: The comparison's settings.
        reference: The set to evaluate on; None to hold pictures out of both sets.
        clusters: Id -> cluster of copies, for a claim about recipes.
        workers: Number of processes that train; None for one per core.
        loop: Executes the runs instead of processes.
        progress: Called with the number of finished runs, and of all runs.
        tell: Called with lines for people before the first run: power and forecast.

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
        tell=tell,
        workers=workers,
    )
    options = {
        name: arm.storage_options
        for name, arm in (("a", a), ("b", b), ("reference", reference))
        if arm is not None
    }
    planned = read_plan(out, options)
    ids = {row["id"] for end in ("gained", "lost") for row in content[end][:SHOWN]}
    page = render_verdict(content, _pictures(planned, ids), _samples(out, content))
    (out / PAGE).write_text(page, encoding="utf-8", errors="replace")
    return content


def foresee(
    a: Arm,
    b: Arm,
    settings: VerdictSettings,
    reference: Arm | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Returns a comparison's power and cost, by training only a few timed steps.

    Args:
        a: The baseline set.
        b: The set to judge.
        settings: The comparison's settings.
        reference: The set to evaluate on; None to hold pictures out of both sets.
        workers: Number of processes that will train; None for one per core.

    Returns:
        A JSON-able dict: `text` (lines for people), `pairs` (whether seeds are paired), `shared`
        (numbers of common pictures), `power`, `forecast`.

    Raises:
        As `plan_comparison` does.
    """
    planned = plan_comparison(a, b, settings, reference)
    equal, pairs, counts = are_equal(planned), are_pairs(planned), shared(planned)
    found = forecast(planned, workers)
    text = [
        f"{counted(counts['both'], 'picture')} in both, {counts['a_only']:,} only in A, "
        f"{counts['b_only']:,} only in B: seeds are {'paired' if pairs else 'not paired'}",
        *planned.notes,
        said(settings.trains, equal=equal, pairs=pairs, replicates=settings.replicates),
        found.sentence(),
    ]
    return {
        "text": text,
        "pairs": pairs,
        "shared": counts,
        "power": power(
            settings.trains, equal=equal, pairs=pairs, replicates=settings.replicates, percent=None
        ),
        "forecast": found.to_json(),
    }


def lines(content: Mapping[str, Any], out: Path) -> Iterator[str]:
    """Yields lines for a terminal: sentence, claim, six measures, power, and the page's path."""
    yield content["sentence"]
    yield f"about {content['claim']}"
    yield f"  {'measure':<12} {'A':>8} {'B':>8}   B minus A (95 % of all six)      p      B is"
    for finding in content["findings"]:
        interval = finding["interval"]
        ends = [
            "unbounded" if interval[end] is None else f"{interval[end]:+.4f}"
            for end in ("low", "high")
        ]
        yield (
            f"  {finding['measure']['name'].replace('_', ' '):<12} {finding['a']:8.4f} "
            f"{finding['b']:8.4f}   {interval['mean']:+.4f} ({' to '.join(ends)})"
            f"   {finding['p']:<6.2g} {called(finding)}"
        )
    seeds = content["power"]["by_seeds"]
    if seeds:
        counts = ", ".join(f"{row['seeds']} seeds {row['sees']:.2g} %" for row in seeds)
        yield f"smallest difference in loss that four of five comparisons would detect: {counts}"
    if not content["pairs"]:
        yield "most pictures are in only one set, so seeds are not paired and detect less"
        yield content["pictures_note"]
    if content["reference"]["note"]:
        yield content["reference"]["note"]
    for name, arm in content["arms"].items():
        if arm["unread"]["pictures"]:
            yield unread(name, arm)
    if (target := content["half_width"]) and not target["reached"]:
        yield missed(target, content["replicates"][0])
    # The few steps of `debug` learn nothing of any captions.
    learns = content["preset"] != "debug"
    if UNREAD in content["sentence"] and content["text"]["name"] == NANO and learns:
        yield (
            "the packaged text encoder only knows the synthetic world's words; choose one that "
            "knows yours (--text MODEL, for example a sentence encoder such as all-MiniLM)"
        )
    yield str(out / PAGE)


def _pictures(planned: Planned, ids: set[str]) -> dict[str, Picture]:
    """Returns thumbnails of reference pictures, cropped and scaled as in the evaluation, by id."""
    found = {}
    rows = planned.pictures.select(["id", "read_from"]).to_pylist()
    for name, arm in planned.arms.items():
        mine = {row["id"] for row in rows if row["id"] in ids and row["read_from"] == name}
        if not mine:
            continue
        opened = arm.open(planned.settings)
        for sample in (s for s in opened.samples if s.id in mine):
            try:
                found[sample.id] = Picture(_thumbnail(opened.image(sample)))
            except (PixelError, ValueError, CorpusError, OSError) as error:
                # A picture that was removed since the runs only lacks its thumbnail.
                found[sample.id] = Picture(None, str(error) or type(error).__name__)
    return found


def _thumbnail(pixels: np.ndarray) -> str:
    image, stream = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((SIDE, SIDE))
    image.save(stream, "JPEG", quality=QUALITY)
    return data_uri("image/jpeg", stream.getvalue())


def _samples(out: Path, content: Mapping[str, Any]) -> list[Sample]:
    """Returns the samples that the first seeds' runs drew, by prompt, with A beside B."""
    folders = {
        (seed, arm): RunSpec(str(out), arm, seed).folder
        for seed in range(min(GRIDS, *content["replicates"]))
        for arm in "ab"
    }
    # Runs of some seeds may have drawn no samples.
    cells = {key: _cells(folder) for key, folder in folders.items() if (folder / DRAWN).is_file()}
    seeds = sorted({seed for seed, _ in cells})
    return [
        Sample(prompt, [(s, {arm: cells[s, arm][prompt] for arm in "ab"}) for s in seeds])
        for prompt in cells.get((0, "a"), ())
    ]


def _cells(folder: Path) -> dict[str, str]:
    """Returns prompt -> the first picture of its row in a run's grid, as a data URI."""
    facts = json.loads((folder / DRAWN).read_text(encoding="utf-8"))
    width, height, padding = (facts[name] for name in ("cell_width", "cell_height", "padding"))
    found = {}
    with Image.open(folder / facts["file"]) as grid:
        for number, prompt in enumerate(facts["rows"]):
            top, stream = padding + number * (height + padding), io.BytesIO()
            grid.crop((padding, top, padding + width, top + height)).save(stream, "PNG")
            found[prompt] = data_uri("image/png", stream.getvalue())
    return found
