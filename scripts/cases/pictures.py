"""Pictures of the cases: stamps and emoji, split into training pictures and a yardstick; worlds.

Real pictures are fetched by `scripts/get_stamps` and `scripts/get_emoji` and stay in the folder of
the cases; none of them is part of this repository.
"""

import io
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from nucleus_data.hashing import keyed_unit
from nucleus_data.world.alterations import FAULTS
from nucleus_data.world.plan import WorldSettings
from nucleus_data.world.write import PICTURES, write_world
from scripts.cases.making import once

SCRIPTS = Path(__file__).resolve().parents[1]
TRAINING, YARDSTICK = "training", "yardstick"
SMALL = (144, 192)  # long sides in pixels: enough for a set of 64 pixels, painted in no time
QUALITY = 92


def fetched(kind: str, out: Path) -> Path:
    """The folder of `scripts/get_KIND`, fetched unless it is there."""
    return once(out / kind, lambda folder: _get(SCRIPTS / f"get_{kind}", folder))


def _get(script: Path, folder: Path) -> None:
    subprocess.run([str(script), str(folder)], check=True)


def halves(pictures: Path, out: Path, share: float) -> tuple[Path, Path]:
    """Splits pictures with a caption beside them: those to train on, and those of the yardstick.

    Args:
        pictures: A folder of PNG files, with `NAME.txt` beside `NAME.png`.
        out: Where the two folders are made, unless they are there.
        share: Of the yardstick; which pictures these are is a hash of their names.
    """
    found = once(out, lambda part: _split(pictures, part, share))
    return found / TRAINING, found / YARDSTICK


def _split(pictures: Path, out: Path, share: float) -> None:
    for file in captioned(pictures):
        key = file.relative_to(pictures).as_posix()
        side = YARDSTICK if keyed_unit("cases-split", 0, key) < share else TRAINING
        target = out / side / key
        target.parent.mkdir(parents=True, exist_ok=True)
        for one in (file, file.with_suffix(".txt")):
            shutil.copyfile(one, target.with_suffix(one.suffix))


def captioned(pictures: Path) -> Iterator[Path]:
    """The PNG files of a folder that have a caption beside them, by name."""
    for file in sorted(pictures.rglob("*.png")):
        text = file.with_suffix(".txt")
        if text.is_file() and text.read_text(encoding="utf-8", errors="replace").strip():
            yield file


def world(
    out: Path, count: int, seed: int, faults: float = 0.0, long_side: tuple[int, int] = SMALL
) -> Path:
    """A world's pictures, with their alt texts beside them; its truth lies in the folder above."""
    settings = WorldSettings(
        count, seed, fault_share=faults, strengths=(2, 1, 0), long_side=long_side
    )
    return once(out, lambda part: write_world(part, settings, workers=1)) / PICTURES


def truth(pictures: Path, length: str) -> dict[str, str]:
    """Key -> true caption, of a world's pictures.

    Args:
        pictures: As `world` returned it.
        length: A length of `nucleus_data.world.words`, or `mixed`: one of short, medium and long
            for each picture.
    """
    lengths = ("short", "medium", "long") if length == "mixed" else (length,)
    table = pq.read_table(pictures.parent / "truth.parquet", columns=["file", *lengths])
    found = {}
    for row in table.to_pylist():
        drawn = int(keyed_unit("cases-length", 0, row["file"]) * len(lengths))
        found[row["file"]] = row[lengths[drawn]]
    return found


def spoiled(pictures: Path, out: Path, fault: str, strength: int, share: float) -> Path:
    """The same pictures under the same names, a share of them with a fault.

    Args:
        pictures: Where they are.
        out: Where they go.
        fault: A key of `nucleus_data.world.alterations.FAULTS`.
        strength: 0 to 2.
        share: Of the pictures.
    """
    files = sorted(path for path in pictures.rglob("*") if path.is_file())
    return once(out, lambda part: _spoil(pictures, part, files, fault, strength, share))


def _spoil(
    pictures: Path, out: Path, files: Sequence[Path], fault: str, strength: int, share: float
) -> None:
    for number, file in enumerate(files):
        key = file.relative_to(pictures).as_posix()
        target = out / key
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".txt" or keyed_unit(f"cases-{fault}", 0, key) >= share:
            shutil.copyfile(file, target)
            continue
        with Image.open(file) as opened:
            form = opened.format or "JPEG"
            altered = FAULTS[fault](opened.convert("RGB"), strength, np.random.default_rng(number))
        stream = io.BytesIO()
        altered.save(stream, form, **({} if form == "PNG" else {"quality": QUALITY}))
        target.write_bytes(stream.getvalue())
