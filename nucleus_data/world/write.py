"""Writes a world: pictures with the captions that came with them, and the truth about each.

`OUT/truth.parquet` has one row a picture: file, fault, strength, original, the scene's facts (as
JSON), true captions of all lengths, the filed caption and its kind, pleasantness and ratings. It
lies beside the pictures' folder, so that nothing mistakes it for data.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tqdm import tqdm

from nucleus_data.world import alterations, files
from nucleus_data.world.alt_texts import AltText, alt_text
from nucleus_data.world.painting import render
from nucleus_data.world.plan import (
    CAPTION_FAULTS,
    COPY_FAULTS,
    EXACT,
    NONE,
    STRENGTHS,
    Planned,
    WorldPlan,
    WorldSettings,
)
from nucleus_data.world.rating import pleasantness, ratings
from nucleus_data.world.scenes import scene
from nucleus_data.world.words import LENGTHS, captions

Form = Literal["folder", "tars", "urls"]
FORMS: tuple[Form, ...] = ("folder", "tars", "urls")
PICTURES = "pictures"
IMAGES_PER_TAR = 1000
CHUNK = 64
TRUTH = pa.schema(
    [
        ("index", pa.int64()),
        ("file", pa.string()),
        ("fault", pa.string()),
        ("strength", pa.string()),
        ("original", pa.string()),
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("scene", pa.string()),
        *((length, pa.string()) for length in LENGTHS),
        ("alt_kind", pa.string()),
        ("alt_text", pa.string()),
        ("pleasantness", pa.float64()),
        ("ratings", pa.list_(pa.float64())),
    ]
)
Entry = dict[str, Any]


def write_world(
    out: Path | str,
    settings: WorldSettings,
    form: Form = "folder",
    *,
    workers: int | None = None,
    base_url: str = "http://127.0.0.1:8000",
    progress: bool = False,
) -> Path:
    """Writes a world.

    Args:
        out: Folder, made if absent; files of the same names are overwritten.
        settings: Which world.
        form: `folder` (`OUT/pictures`, captions in `.txt` beside them), `tars` (`OUT/tars`,
            webdataset tars of 1,000) or `urls` (a folder without captions, and `OUT/urls.parquet`
            with the columns url and caption, as img2dataset reads it).
        workers: Processes; by default one a CPU. The bytes do not depend on it.
        base_url: Where the pictures will be served from; for `urls`.
        progress: Show a bar when the output is a terminal.

    Returns:
        What to give to `ingest.source`: the folder of pictures or tars, or the URL list.

    Raises:
        ValueError: There is no such form.
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
    root = Path(out)
    source = root / ("tars" if form == "tars" else PICTURES)
    source.mkdir(parents=True, exist_ok=True)
    chunk = IMAGES_PER_TAR if form == "tars" else CHUNK  # a tar is one process's work
    write = partial(_write_tar if form == "tars" else _write_files, source, form)
    bar = tqdm(
        desc="world",
        unit=" pictures",
        total=settings.images,
        delay=2,
        disable=None if progress else True,
        leave=False,
    )
    with bar, pq.ParquetWriter(root / "truth.parquet", TRUTH, compression="zstd") as truth:
        for rows in _mapped(write, settings, chunk, workers or os.cpu_count() or 1):
            truth.write_table(pa.Table.from_pylist(rows, TRUTH))
            bar.update(len(rows))
    if form == "urls":
        source = root / "urls.parquet"
        _write_urls(root / "truth.parquet", source, base_url.rstrip("/"))
    return source


def make(plan: WorldPlan, planned: Planned) -> tuple[bytes, Entry]:
    """One picture's bytes, and its row of the truth.

    Args:
        plan: The world.
        planned: The picture's line of it.
    """
    settings = plan.settings
    facts = scene(settings.seed, planned.scene, settings.level)
    filed = _filed(plan, planned)
    if planned.fault == EXACT:
        # Made anew: the original may be another process's, and a picture depends on its line alone.
        data = make(plan, plan[planned.original])[0]
    else:
        data = _painted(plan, planned)
    entry: Entry = {
        "index": planned.index,
        "file": planned.file,
        "fault": planned.fault,
        "strength": "" if planned.fault in (NONE, EXACT) else STRENGTHS[planned.strength],
        "original": plan[planned.original].file if planned.original >= 0 else "",
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "format": planned.format,
        "width": planned.width,
        "height": planned.height,
        "scene": json.dumps(asdict(facts)),
        **captions(facts),
        "alt_kind": filed.kind,
        "alt_text": filed.text,
        "pleasantness": pleasantness(facts),
        "ratings": ratings(facts),
    }
    return data, entry


def _painted(plan: WorldPlan, planned: Planned) -> bytes:
    settings, fault, strength = plan.settings, planned.fault, planned.strength
    picture = render(
        scene(settings.seed, planned.scene, settings.level), planned.width, planned.height
    )
    rng = np.random.default_rng([settings.seed, planned.index, 8])
    if fault in files.FILES:
        return files.FILES[fault](picture, strength, rng)
    alter = alterations.FAULTS.get(fault) or alterations.COPIES.get(fault)
    if alter is not None:
        picture = alter(picture, strength, rng)
    return files.encoded(picture, planned.format, planned.quality)


def _filed(plan: WorldPlan, planned: Planned) -> AltText:
    """The caption that came with the picture; a copy's is its own draw."""
    facts = scene(plan.settings.seed, planned.scene, plan.settings.level)
    if planned.fault == "empty_caption":
        return AltText("missing", ("", " ", "...")[planned.strength])
    if planned.fault == "wrong_caption":
        return alt_text(facts, ("partly_wrong", "other_language", "other_image")[planned.strength])
    if planned.fault in COPY_FAULTS:
        return alt_text(facts, "terse")
    return alt_text(facts)


def _mapped(
    write: Callable[[WorldPlan, range], list[Entry]],
    settings: WorldSettings,
    chunk: int,
    workers: int,
) -> Iterator[list[Entry]]:
    """Chunks in order, whoever wrote them."""
    everything = range(settings.images)
    chunks = (everything[start : start + chunk] for start in range(0, len(everything), chunk))
    # For what fits one chunk, a process would take longer to start than to work.
    if workers == 1 or settings.images <= chunk:
        plan = WorldPlan(settings)
        yield from (write(plan, numbers) for numbers in chunks)
        return
    context = get_context("spawn")  # a fork of a process with threads may hang
    with ProcessPoolExecutor(workers, context, _start, (settings,)) as pool:
        yield from pool.map(partial(_run, write), chunks)


# A process draws the plan once; as an argument it would be sent again with each chunk.
_plan: WorldPlan | None = None


def _start(settings: WorldSettings) -> None:
    global _plan
    _plan = WorldPlan(settings)


def _run(write: Callable[[WorldPlan, range], list[Entry]], numbers: range) -> list[Entry]:
    assert _plan is not None  # _start ran
    return write(_plan, numbers)


def _write_files(source: Path, form: Form, plan: WorldPlan, numbers: range) -> list[Entry]:
    rows = []
    for number in numbers:
        data, entry = make(plan, plan[number])
        path = source / entry["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if form == "folder" and entry["alt_text"]:
            path.with_suffix(".txt").write_text(f"{entry['alt_text']}\n", encoding="utf-8")
        rows.append(entry)
    return rows


def _write_tar(source: Path, form: Form, plan: WorldPlan, numbers: range) -> list[Entry]:
    rows = []
    name = f"{numbers[0] // IMAGES_PER_TAR:06d}.tar"
    with tarfile.open(source / name, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in numbers:
            data, entry = make(plan, plan[number])
            member = Path(entry["file"]).name
            _add(tar, member, data)
            if entry["alt_text"]:
                _add(tar, f"{Path(member).stem}.txt", entry["alt_text"].encode())
            rows.append({**entry, "file": f"{name}/{member}"})
    return rows


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)  # without time and owner, so that the same world is the same tar
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _write_urls(truth: Path, target: Path, base_url: str) -> None:
    table = pq.read_table(truth, columns=["file", "alt_text"])
    urls = [f"{base_url}/{file}" for file in table["file"].to_pylist()]
    pq.write_table(pa.table({"url": urls, "caption": table["alt_text"]}), target)


def contact_sheet(
    plan: WorldPlan, columns: int = 10, rows: int = 8, side: int = 160
) -> Image.Image:
    """Shows each fault at each strength once, then clean pictures, for people who look.

    Pictures that can't be decoded are left gray.
    """
    seen: dict[tuple[str, int], Planned] = {}
    clean: list[Planned] = []
    for planned in plan:
        if planned.fault == NONE and len(clean) < columns * rows:
            clean.append(planned)
        elif planned.fault not in (NONE, *CAPTION_FAULTS):
            seen.setdefault((planned.fault, planned.strength), planned)
    shown = [*(seen[key] for key in sorted(seen)), *clean][: columns * rows]
    sheet = Image.new("RGB", (columns * side, -(-len(shown) // columns) * side), "white")
    for place, planned in enumerate(shown):
        tile = Image.new("RGB", (side - 6, side - 6), (200, 200, 200))
        with suppress(OSError, Image.DecompressionBombError):
            with Image.open(io.BytesIO(make(plan, planned)[0])) as picture:
                tile = picture.convert("RGB")
            tile.thumbnail((side - 6, side - 6))
        sheet.paste(tile, (place % columns * side + 3, place // columns * side + 3))
    return sheet
