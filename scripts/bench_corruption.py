"""Measures how often our decoder, Pillow and OpenCV notice silent damage, on the same files.

    python scripts/bench_corruption.py                                # synthetic scenes
    python scripts/bench_corruption.py --photos stamps photographs --images 200
    python scripts/bench_corruption.py --clean photographs --drawings stamps
    python scripts/bench_corruption.py --quick --json corruption.json

Each picture is written by each encoder, and read once unchanged (an error is a false alarm), and
once with each kind of damage. `zeros`: 1,000 bytes in the middle of the file become 0 (a quarter of
the file, if that is less). `flips`: 8 bits are flipped, uniformly between the first scan's header
and the last end-of-image marker; in other formats, in the last three quarters of the file. Files
that the damage leaves equal are not counted. A decoder notices by raising; OpenCV may also return
nothing.

`--clean` and `--drawings` count false alarms alone, of our decoder: on each JPEG of the folders as
it was shipped, and on their pictures written in some twenty ways (scripts/corruption/encoders.py).
Of `--clean` only what looks like a photograph counts. Photographs, written by many cameras and
programs, are in Debian packages; nothing need be installed, and a missing folder is passed over:

    mkdir debs photographs && cd debs
    apt-get download opencv-doc plasma-workspace-wallpapers mate-backgrounds gnome-backgrounds \
        lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 ukui-wallpapers sway-backgrounds \
        kphotoalbum kstars-data libjxl-testdata librust-jpeg-decoder-dev python-skimage-doc
    for deb in *.deb; do dpkg -x "$deb" ../photographs; done    # stamps: tuxpaint-stamps-default

With `cjpeg` (libjpeg-turbo-progs) and `jpeg` (libjpeg-tools) on the path, they write some too.
"""

import io
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENCV_LOG_LEVEL"] = "OFF"

import cv2
import numpy as np
from PIL import Image

from nucleus_data.pixels import PixelError, Reason, open_picture
from nucleus_data.world import render, scene
from nucleus_data.world.damage import flipped, zeroed
from scripts.benchmark import Measure, parser, publish
from scripts.corruption.clean import SHIPPED, clean_files
from scripts.corruption.encoders import JPEGS, OTHERS, Encode

SIDES = (384, 768, 1536)
GOALS = {"zeros": 0.92, "flips": 0.75}


@dataclass(frozen=True)
class Trial:
    """One file, read by three decoders.

    Attributes:
        encoder: The encoder that wrote the file.
        damage: `none`, `zeros` or `flips`.
        ours: The reason of our decoder, or `ok`.
        pillow: Whether Pillow noticed.
        opencv: Whether OpenCV noticed.
    """

    encoder: str
    damage: str
    ours: str
    pillow: bool
    opencv: bool


def our_reason(data: bytes) -> str:
    """Returns the reason for which our decoder rejects a file, or `ok`."""
    try:
        _ = open_picture(data).luma_full
    except PixelError as error:
        return error.reason.value
    return "ok"


def _trial(encoder: str, damage: str, data: bytes) -> Trial:
    try:
        Image.open(io.BytesIO(data)).load()
        pillow = False
    except Exception:
        pillow = True
    try:
        opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is None
    except cv2.error:
        opencv = True
    return Trial(encoder, damage, our_reason(data), pillow, opencv)


def trials(
    images: Iterator[Image.Image], encoders: dict[str, Encode], seed: int
) -> Iterator[Trial]:
    """Yields trials of each picture by each encoder: clean, zeroed and flipped.

    Args:
        images: In mode RGB.
        encoders: Names and functions.
        seed: Seed of the places of damage.
    """
    rng = np.random.default_rng(seed)
    for image in images:
        for name, encode in encoders.items():
            data = encode(image)
            yield _trial(name, "none", data)
            for damage, damaged in (("zeros", zeroed(data)), ("flips", flipped(data, rng))):
                if damaged != data:
                    yield _trial(name, damage, damaged)


def pictures(folders: Sequence[Path], count: int, seed: int) -> Iterator[Image.Image]:
    """Yields pictures of folders, each at several sizes; without folders, synthetic scenes.

    Args:
        folders: Folders to search recursively; unreadable files are skipped.
        count: Maximum number of pictures.
        seed: Seed of the order, and of the scenes.
    """
    rng = np.random.default_rng(seed)
    if not folders:
        for index in range(count):
            side = SIDES[index % len(SIDES)]
            yield render(scene(seed, index, "full"), side, side * 3 // 4).convert("RGB")
        return
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    jobs = [(path, side) for path in paths for side in SIDES]
    rng.shuffle(jobs)
    yield from islice(_scaled(jobs), count)


def _scaled(jobs: list[tuple[Path, int]]) -> Iterator[Image.Image]:
    for path, side in jobs:
        try:
            picture = open_picture(Path(path).read_bytes())
            if max(picture.header.width, picture.header.height) >= int(side):
                yield Image.fromarray(picture.rgb(max_side=int(side)))
        except PixelError:
            continue


def _share(found: Sequence[Trial], noticed: Callable[[Trial], bool]) -> float:
    return round(sum(map(noticed, found)) / len(found), 4) if found else 0.0


def measures(found: Sequence[Trial]) -> list[Measure]:
    """Returns the table: recall by damage and encoder, then over all JPEGs, then false alarms.

    Args:
        found: Trials of JPEG and of other formats.
    """
    rows = []
    for damage, goal in GOALS.items():
        for encoder in ("all JPEG", *JPEGS, *OTHERS):
            of = [
                t
                for t in found
                if t.damage == damage
                and t.encoder in ({encoder} | ({*JPEGS} if encoder == "all JPEG" else set()))
            ]
            if not of:
                continue
            pillow, opencv = _share(of, lambda t: t.pillow), _share(of, lambda t: t.opencv)
            rows.append(
                Measure(
                    f"{damage}, {encoder}",
                    _share(of, lambda t: t.ours != "ok"),
                    "share",
                    f">= {goal}" if encoder == "all JPEG" else None,
                    len(of),
                    against=f"Pillow {pillow:.3f}, OpenCV {opencv:.3f}",
                )
            )
        of = [t for t in found if t.damage == damage and t.encoder in JPEGS and t.ours != "ok"]
        named = _share(of, lambda t: t.ours == Reason.DAMAGED_DATA)
        reasons = ", ".join(
            f"{reason} {n}" for reason, n in Counter(t.ours for t in of).most_common()
        )
        rows.append(
            Measure(
                f"{damage}, called damaged_data", named, "share", None, len(of), against=reasons
            )
        )
    clean = [t for t in found if t.damage == "none"]
    alarms = sum(t.ours != "ok" for t in clean)
    rows.append(Measure("false alarms", alarms, "files", "<= 0", len(clean)))
    return rows


# For `--clean` and `--drawings`: the required number of files, whether they are photographs, and
# how often each is written. 1,500 are required for 1,000 photographs, as a third of the files that
# look like photographs by their shades are not, or have something drawn on them (of 70 inspected
# ones).
CLEAN = {"photographs": (1500, True, 3), "drawings": (3000, False, 4)}


def alarms(what: str, folders: Sequence[Path]) -> list[Measure]:
    """Returns the table of false alarms on clean files.

    Args:
        what: A key of `CLEAN`.
        folders: Folders with pictures; missing ones are reported and skipped.
    """
    goal, photographs, times = CLEAN[what]
    for folder in folders:
        if not folder.is_dir():
            print(f"bench_corruption: no folder {folder}; --help says how to get one")
    folders = [folder for folder in folders if folder.is_dir()]
    counts: Counter[str] = Counter()
    raised: Counter[str] = Counter()
    sources = set()
    for clean in clean_files(folders, photographs, times):
        sources.add(clean.source)
        counts[clean.way] += 1
        reason = our_reason(clean.data)
        if reason != "ok":
            raised[clean.way] += 1
            print(f"false alarm: {clean.source}, {clean.way}: {reason}")
    if not counts:
        return []
    shipped, written = counts[SHIPPED], counts.total() - counts[SHIPPED]
    ways, pictures = f"{len(counts) - (shipped > 0)} ways", f"{len(sources)} pictures"
    false = raised.total() - raised[SHIPPED]
    rows = [Measure(f"clean {what}", counts.total(), "files", f">= {goal}", against=pictures)]
    for how, number, n, said in (
        ("as shipped", raised[SHIPPED], shipped, None),
        ("written", false, written, ways),
    ):
        if n:
            name = f"false alarms, {what} {how}"
            rows.append(Measure(name, number, "files", "<= 0", n, against=said))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark, and returns the exit code."""
    options = parser(__doc__ or "")
    options.add_argument("--photos", type=Path, nargs="+", default=[], metavar="DIR")
    for what in CLEAN:
        flag = "--clean" if what == "photographs" else f"--{what}"
        options.add_argument(flag, type=Path, nargs="+", default=[], metavar="DIR", dest=what)
    options.add_argument("--images", type=int, default=150, help="pictures (default 150)")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args(arguments)
    if given.photographs or given.drawings:
        rows = [row for what in CLEAN for row in alarms(what, getattr(given, what))]
        publish(rows, given.json)
        return 0 if all(row.met is not False for row in rows) else 1
    count = 10 if given.quick else given.images
    results = list(trials(pictures(given.photos, count, given.seed), JPEGS, given.seed))
    results += trials(pictures(given.photos, count // 5, given.seed), OTHERS, given.seed)
    if not results:
        print("bench_corruption: no picture that can be read in --photos", file=sys.stderr)
        return 2
    rows = measures(results)
    publish(rows, given.json)
    return 0 if all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
