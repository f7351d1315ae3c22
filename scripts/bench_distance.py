"""Measures recall and false pairs of other values of `dedup.distance`, on real pictures.

    python scripts/bench_distance.py --pictures wallpapers --pictures photos       # some minutes
    python scripts/bench_distance.py --pictures clipart --tiles 0 --show pairs.txt

**Found**: copies that `scripts/copies/variants.py` makes of the pictures (framed ones apart, which
`dedup.hashes=canonical` is for), and crops of 3 to 8 %. Of each, the distance of its 64-bit hash
from that of its original, and whether the 256-bit hash and the shape confirm the pair.

**False**: pairs of pictures from two files (with `--by-folder`, from two folders, if one holds a
family of variants). Large ones are cut into tiles too, which are pictures
of their own; only those from different files are compared, and none that `blank` would reject.
A candidate costs a look at its 256-bit hash. One that is confirmed loses a picture if it is false:
`--show` writes these pairs down, for whether two files show one thing is for a person to say.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Must be set before numpy is imported; more threads would compete with the processes.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.signals import hash as hashes
from nucleus_data.stages.dedup.confirm import confirm
from scripts.benchmark import Measure, parser, publish
from scripts.copies.damage import Variant, any_way, saved
from scripts.copies.originals import of_file
from scripts.copies.variants import VARIANTS
from scripts.rules.measuring import Row, spread

FURTHEST = 12
HASH256, ASPECT = 40, 0.03  # the defaults of `dedup`
TILE = (128, 96)
LARGEST = 2560  # longer side of a picture before it is cut into tiles, in pixels
PLAIN = 6.0  # minimum deviation of luma of a tile
BLOCK = 256
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def _cropped(share: float) -> Variant:
    def make(picture: Image.Image, number: int) -> bytes:
        x, y = round(picture.width * share), round(picture.height * share)
        return any_way(picture.crop((x, y, picture.width, picture.height)), number)

    return Variant("cropped", f"{share:.0%} of two sides", make)


MADE = (
    *(variant for variant in VARIANTS if variant.kind != "framed"),
    *(_cropped(share) for share in (0.03, 0.05, 0.08)),
)


@dataclass(frozen=True)
class Work:
    """A file to measure.

    Attributes:
        number: The file's index.
        family: Files of the same family are not compared.
        path: The file.
        tiles: Maximum number of tiles to cut from it.
        variants: Indices in `MADE` of the copies to make of it.
    """

    number: int
    family: int
    path: Path
    tiles: int
    variants: tuple[int, ...]


def measured(work: Work) -> list[Row]:
    """Measures a file, its tiles and its copies; returns no rows if the file can't be read."""
    try:
        picture = of_file(work.path, native=False)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return []
    rows = [_row(work, "whole", saved(picture, "PNG", compress_level=1))]
    if rows[0]["std"] < PLAIN:
        return []
    if work.tiles:
        rows += [_row(work, "tile", tile, at) for at, tile in _tiles(work)]
    for place in work.variants:
        try:
            made = MADE[place].make(picture, work.number + place)
            rows.append(_row(work, MADE[place].kind, made))
        except (OSError, ValueError, PixelError) as error:  # the picture is too small
            print(f"{work.path.name}: {MADE[place].name}: {error}", file=sys.stderr)
    return [row for row in rows if row["kind"] != "tile" or row["std"] >= PLAIN]


def _tiles(work: Work) -> Iterator[tuple[str, bytes]]:
    with Image.open(work.path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((LARGEST, LARGEST))
    places = [
        (x, y)
        for y in range(0, picture.height - TILE[1] + 1, TILE[1])
        for x in range(0, picture.width - TILE[0] + 1, TILE[0])
    ]
    for x, y in places[: work.tiles] if len(places) > 1 else ():
        tile = picture.crop((x, y, x + TILE[0], y + TILE[1]))
        yield f" at {x}, {y}", saved(tile, "PNG", compress_level=1)


def _row(work: Work, kind: str, data: bytes, at: str = "") -> Row:
    picture = open_picture(data)
    hashed = hashes.measure(picture, None)
    return {
        "file": work.number,
        "family": work.family,
        "name": f"{work.path}{at}",
        "kind": kind,
        "phash": hashed["phash"],
        "hash256": hashed["hash256"],
        "size": (picture.header.width, picture.header.height),
        "std": float(picture.luma_small.std()),
    }


@dataclass(frozen=True)
class Codes:
    """The hashes of some rows, as arrays."""

    phash: NDArray[np.uint64]
    hash256: NDArray[np.uint64]
    size: NDArray[np.int64]
    family: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Codes":
        """Returns the codes of rows, in the same order."""
        wide = np.frombuffer(b"".join(row["hash256"] for row in rows), ">u8")
        return cls(
            np.array([row["phash"] for row in rows], np.uint64),
            wide.astype(np.uint64).reshape(-1, 4),
            np.array([row["size"] for row in rows], np.int64),
            np.array([row["family"] for row in rows], np.int64),
        )

    def confirmed(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns whether the 256-bit hashes and the shapes of pairs agree, bool[N]."""
        return confirm(
            self.hash256[one],
            self.hash256[other],
            self.size[one],
            self.size[other],
            hash256_limit=HASH256,
            aspect_tolerance=ASPECT,
        )[0]


def near(codes: Codes) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Finds the pairs within `FURTHEST`; returns the number compared, the pairs, the distances."""
    compared, pairs, distances = 0, [], []
    for start in range(0, len(codes.phash), BLOCK):
        rest = slice(start, None)
        block = slice(start, start + BLOCK)
        apart = np.bitwise_count(codes.phash[block, None] ^ codes.phash[None, rest])
        # Rows are sorted by family.
        comparable = codes.family[block, None] < codes.family[None, rest]
        compared += int(np.count_nonzero(comparable))
        close = np.argwhere(comparable & (apart <= FURTHEST))
        pairs.append(close + start)
        distances.append(apart[close[:, 0], close[:, 1]].astype(np.int64))
    return compared, np.concatenate(pairs), np.concatenate(distances)


def false_pairs(name: str, rows: Sequence[Row], show: list[str]) -> Iterator[Measure]:
    """Yields the rows about pairs of different files."""
    codes = Codes.of(rows)
    compared, pairs, distances = near(codes)
    right = codes.confirmed(pairs[:, 0], pairs[:, 1])
    # Identical codes are mostly the same file in two places, which collections have by thousands.
    twins = (codes.hash256[pairs[:, 0]] == codes.hash256[pairs[:, 1]]).all(axis=1)
    for distance in (2, 4, 6, 8, 10, 12):
        within = (distances <= distance) & ~twins
        for what, those in (("candidates", within), ("confirmed", within & right)):
            per = float(f"{1e9 * np.count_nonzero(those) / max(1, compared):.4g}")
            seen = f"{np.count_nonzero(those)} of {compared:.3g} pairs"
            yield Measure(f"{name}: {what} within {distance}", per, "of 10^9", against=seen)
    for (first, second), distance in zip(
        pairs[right & ~twins], distances[right & ~twins], strict=True
    ):
        show.append(f"{name}\t{distance}\t{rows[first]['name']}\t{rows[second]['name']}")


def found_copies(rows: Sequence[Row]) -> Iterator[Measure]:
    """Yields the rows about copies."""
    codes = Codes.of(rows)
    whole = {row["file"]: place for place, row in enumerate(rows) if row["kind"] == "whole"}
    made = [place for place, row in enumerate(rows) if row["kind"] not in ("whole", "tile")]
    if not made:
        return
    original = np.array([whole[rows[place]["file"]] for place in made], np.int64)
    copies = np.array(made, np.int64)
    apart = np.bitwise_count(codes.phash[original] ^ codes.phash[copies])
    right = codes.confirmed(original, copies)
    for distance in range(FURTHEST + 1):
        within = apart <= distance
        confirmed = np.count_nonzero(within & right)
        share = float(f"{confirmed / max(1, len(made)):.4g}")
        alone = f"{np.count_nonzero(within) / max(1, len(made)):.4f} by the 64-bit hash alone"
        yield Measure(f"copies within {distance}", share, f"of {len(made)}", against=alone)
    kinds = Counter(rows[place]["kind"] for place in made)
    for kind, count in kinds.items():
        its = np.array([rows[place]["kind"] == kind for place in made])
        at = [np.count_nonzero(its & right & (apart <= distance)) / count for distance in (4, 6, 8)]
        ever = np.count_nonzero(its & right) / count
        yield Measure(
            f"{kind}: within 8", float(f"{at[2]:.4g}"), f"of {count}",
            against=f"4: {at[0]:.3f}, 6: {at[1]:.3f}, confirmed at any distance: {ever:.3f}",
        )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns the exit code."""
    command = parser(__doc__)
    command.add_argument("--pictures", type=Path, action="append", required=True, help="a folder")
    command.add_argument("--tiles", type=int, default=100, help="cut from a picture at most")
    command.add_argument("--copied", type=int, default=100, help="files that copies are made of")
    command.add_argument("--by-folder", action="store_true", help="a folder holds one family")
    command.add_argument("--show", type=Path, help="write the confirmed pairs of two files here")
    command.add_argument("--workers", type=int, default=2, help="processes; default 2")
    options = command.parse_args(arguments)
    paths = sorted(
        {
            path.resolve()
            for folder in options.pictures
            for path in folder.rglob("*")
            if path.suffix.lower() in SUFFIXES and path.is_file()
        }
    )
    if options.quick:
        paths = paths[:: max(1, len(paths) // 20)]
    step = max(1, len(paths) // max(1, options.copied))
    folders = {folder: number for number, folder in enumerate(sorted({p.parent for p in paths}))}
    places = tuple(range(0, len(MADE), 8 if options.quick else 1))
    work = [
        Work(
            number,
            folders[path.parent] if options.by_folder else number,
            path,
            options.tiles,
            places if options.copied and number % step == 0 else (),
        )
        for number, path in enumerate(paths)
    ]
    rows = sorted(spread(measured, work, options.workers), key=lambda row: int(row["family"]))
    show: list[str] = []
    false_rows = []
    for name, kind in (("files", "whole"), ("tiles", "tile")):
        if some := [row for row in rows if row["kind"] == kind]:
            false_rows += false_pairs(name, some, show)
    publish([*found_copies(rows), *false_rows], options.json)
    if options.show:
        options.show.write_text("".join(line + "\n" for line in show))
        print(options.show)
    return 0


if __name__ == "__main__":
    sys.exit(main())
