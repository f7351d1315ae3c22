"""Whether the rules find what is wrong, on a world whose truth is known: recall and precision.

    python scripts/bench_rules.py                       # four minutes on two busy cores
    python scripts/bench_rules.py --seed 12 --level full --json rules.json

Every picture of a world is made in memory (its bytes are those that `nucleus world` writes), opened
and measured, and the recipe's rules decide about it; near duplicates are found among all of them.
The seed is one that no threshold was chosen on (those were: 0 to 10).

A rule's precision is the share of fitting pictures among all that it finds, and `RIGHTLY` says
which faults fit beside its own: what is nearly black has no detail left. Beside a rule's precision
stand the pictures that don't fit. Rare files (CMYK, palettes, profiles) are no fault: they are
counted as clean. Not here, because a model is needed to see them: unsafe, watermarked, dense_text,
and faults of captions.
"""

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# Before numpy: more threads would only get in each other's way.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pyarrow as pa

from nucleus_data.dedup.pairs import find_duplicates
from nucleus_data.errors import RequestError
from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.recipe import Recipe, load_recipe
from nucleus_data.select.decide import decide
from nucleus_data.select.rules import Rule, SelectSettings, check_rules
from nucleus_data.signals import SignalGroup, load_group
from nucleus_data.world.plan import COPY_FAULTS, NONE, STRENGTHS, Plan, WorldSettings
from nucleus_data.world.scenes import LEVELS
from nucleus_data.world.write import make
from scripts.benchmark import Measure, parser, publish

GOAL = 0.98
CLEAN_LOST = 0.005
# Fault -> the rules (flags among them) or the reader's reasons that should name it.
OWN: dict[str, tuple[str, ...]] = {
    "truncated": ("truncated",),
    "corrupt": ("corrupt", "truncated"),
    "html": ("not_an_image",),
    "bomb": ("too_many_pixels",),
    "mislabelled": ("mislabelled",),
    "animated": ("animated",),
    "blank": ("blank",),
    "over_exposed": ("too_bright",),
    "under_exposed": ("too_dark",),
    "blurred": ("blurred",),
    "tiny": ("too_small",),
    "huge": ("too_large",),
    "extreme_aspect": ("extreme_aspect",),
    "over_compressed": ("over_compressed",),
}
# Copies that a border shows too, by the flag; as copies they are counted like the others.
FRAMED = ("bordered", "banner")
RARE = ("cmyk", "sixteen_bit", "palette", "alpha", "profile", "oriented")
# What a rule finds rightly beside its own faults.
RIGHTLY: dict[str, tuple[str, ...]] = {
    "truncated": ("corrupt",),
    "blank": ("under_exposed", "over_exposed"),  # a few levels of contrast are left
    "too_dark": ("blank",),
    "too_bright": ("blank", "brighter"),  # a third brighter, and beige is clipped
    # Nothing to see; and what was stretched up to thirty times.
    "blurred": ("blank", "over_exposed", "under_exposed", "huge", "extreme_aspect"),
    "over_compressed": ("blank", "over_exposed", "under_exposed"),  # hardly any bytes a pixel
    "extreme_aspect": ("huge",),  # 16:1
    "framed": (*FRAMED, "corrupt"),  # damage may leave a grey lower part
}
TWIN = "oriented_twin"
PLANTED = (*OWN, *RARE, *COPY_FAULTS)
Row = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """What is measured.

    Attributes:
        world: The world.
        signals: Groups, by their paths.
    """

    world: WorldSettings
    signals: tuple[str, ...]


def measured(bench: Bench, index: int) -> list[Row]:
    """The picture's truth and values; of a turned one, those of its upright twin too."""
    plan = _plan(bench.world)
    planned = plan[index]
    rows = [_row(bench, planned.fault, *make(plan, planned))]
    if planned.fault == "oriented":
        upright = replace(planned, fault=NONE, format="JPEG", quality=88)
        rows.append(_row(bench, TWIN, *make(plan, upright)))
    for row in rows:
        row |= {"scene": planned.scene, "index": index, "original": planned.original}
    if len(rows) == 2:
        rows[1] |= {"strength": rows[0]["strength"], "original": index}
    return rows


def _row(bench: Bench, fault: str, data: bytes, truth: Row) -> Row:
    row: Row = {
        "fault": fault,
        "strength": truth["strength"],
        "sha256": hashlib.sha256(data).hexdigest(),
        "error": None,
    }
    try:
        picture = open_picture(data)
        picture.luma_full  # noqa: B018 - as in `inspect`: whether all of it decodes
        for group in _groups(bench.signals):
            row |= group.measure(picture, truth["file"])
    except PixelError as error:
        row["error"] = error.reason.value
    return row


@cache
def _plan(world: WorldSettings) -> Plan:
    return Plan(world)


@cache
def _groups(paths: tuple[str, ...]) -> list[SignalGroup]:
    return [load_group(path) for path in paths]


def _measure_chunk(work: tuple[Bench, range]) -> list[Row]:
    return [row for index in work[1] for row in measured(work[0], index)]


def everything(bench: Bench, workers: int) -> list[Row]:
    """All rows, in the plan's order."""
    whole = range(bench.world.images)
    chunks = [(bench, whole[start : start + 32]) for start in range(0, len(whole), 32)]
    rows: list[Row] = []
    if workers == 1:
        for done, chunk in enumerate(chunks):
            rows += _measure_chunk(chunk)
            _progress(done + 1, len(chunks))
        return rows
    context = get_context("spawn")  # a fork of a process with threads may hang
    with ProcessPoolExecutor(workers, context) as pool:
        for done, found in enumerate(pool.map(_measure_chunk, chunks)):
            rows += found
            _progress(done + 1, len(chunks))
    return rows


def _progress(done: int, chunks: int) -> None:
    if done % 10 == 0:
        print(f"{done} of {chunks} chunks", file=sys.stderr, flush=True)


def checked(recipe: Recipe) -> list[Rule]:
    """The rules that need nothing but what `inspect` measures."""
    groups = _groups(recipe.inspect.signals)
    catalog = {field.name: f"inspect.{group.name}" for group in groups for field in group.schema}
    found: list[Rule] = []
    for name, rule in recipe.select.rules.items():
        try:
            found += check_rules(SelectSettings(rules={name: rule}), catalog, ())
        except RequestError as error:  # it reads scores of models
            print(f"left out: {error}", file=sys.stderr)
    return found


def decided(rows: Sequence[Row], recipe: Recipe) -> list[set[str]]:
    """Of each row the names of the rules that find it, rejecting or flagging, and its error."""
    count = len(rows)
    keys = {
        "shard": pa.array(np.zeros(count), pa.int32()),
        "row": pa.array(np.arange(count), pa.int32()),
    }
    groups = _groups(recipe.inspect.signals)
    tables = {}
    good = [number for number, row in enumerate(rows) if not row["error"]]
    for group in groups:
        fields = [
            pa.array([rows[i][field.name] for i in good], field.type) for field in group.schema
        ]
        names = ["row", "error", *group.schema.names]
        columns = [pa.array(good, pa.int32()), pa.nulls(len(good), pa.string()), *fields]
        tables[f"inspect.{group.name}"] = pa.table(columns, names=names)
    records = pa.table(
        {
            **keys,
            "id": [f"{number:08d}" for number in range(count)],
            "error": pa.array([row["error"] for row in rows], pa.string()),
            "retryable": pa.array([False] * count),
        }
    )
    rules = checked(recipe)
    required = sorted({table for rule in rules for table in rule.tables})
    found = decide(records, tables, {}, rules, required)
    lists = zip(found["reasons"].to_pylist(), found["flags"].to_pylist(), strict=True)
    return [{*reasons, *flags} for reasons, flags in lists]


def components(rows: Sequence[Row], recipe: Recipe) -> tuple[list[int], float, int]:
    """Which rows are copies of each other.

    Returns:
        A number for each row, equal for those that pairs connect; the share of pairs that show
        one scene; the number of pairs.
    """
    columns = {name: [row.get(name) for row in rows] for name in ("sha256", "phash", "hash256")}
    sides = {
        name: pa.array([row.get(name) for row in rows], pa.int32()) for name in ("width", "height")
    }
    table = pa.table(
        {
            "shard": pa.array(np.zeros(len(rows)), pa.int32()),
            "row": pa.array(np.arange(len(rows)), pa.int32()),
            "id": [str(number) for number in range(len(rows))],
            "sha256": columns["sha256"],
            "phash": pa.array(columns["phash"], pa.uint64()),
            "hash256": pa.array(columns["hash256"], pa.binary(32)),
            **sides,
        }
    )
    pairs = find_duplicates(table, recipe.dedup)
    root = list(range(len(rows)))

    def top(number: int) -> int:
        while root[number] != number:
            number = root[number]
        return number

    ends = list(zip(pairs["row"].to_pylist(), pairs["other_row"].to_pylist(), strict=True))
    for one, other in ends:
        root[top(one)] = top(other)
    right = sum(_like(rows[one], rows[other]) for one, other in ends)
    return [top(number) for number in root], right / max(1, len(ends)), len(ends)


def _like(one: Row, other: Row) -> bool:
    """One scene, the same file (of HTML), or both without anything to see."""
    empty = ("blank", "over_exposed", "under_exposed")
    return (
        one["scene"] == other["scene"]
        or one["sha256"] == other["sha256"]
        or (one["fault"] in empty and other["fault"] in empty)
    )


def table(rows: Sequence[Row], recipe: Recipe) -> list[Measure]:
    """All rows of the benchmark."""
    found = decided(rows, recipe)
    return [
        *_recalls(rows, found),
        *_precisions(rows, found, recipe),
        *_copies(rows, found, recipe),
        *_clean(rows, found, recipe),
    ]


def _row_of(name: str, hits: int, n: int, goal: str | None, against: str | None = None) -> Measure:
    value = hits / n if n else float("nan")
    return Measure(name, float(f"{value:.4g}"), f"of {n}", goal, 1, 0.0, against)


def _strengths(rows: Sequence[Row], fault: str) -> Iterator[tuple[str, str | None, list[int]]]:
    """Each strength of a fault: its name, its goal, its rows."""
    for strength in STRENGTHS:
        goal = None if strength == STRENGTHS[0] else f">= {GOAL}"
        places = [i for i, r in enumerate(rows) if (r["fault"], r["strength"]) == (fault, strength)]
        if places:
            yield strength, goal, places


def _recalls(rows: Sequence[Row], found: Sequence[set[str]]) -> Iterator[Measure]:
    for fault, names in (*OWN.items(), *((fault, ("framed",)) for fault in FRAMED)):
        for strength, goal, places in _strengths(rows, fault):
            hits = sum(bool(found[i] & set(names)) for i in places)
            what = " or ".join(names)
            yield _row_of(f"{fault}, {strength}: found by {what}", hits, len(places), goal)


def _precisions(
    rows: Sequence[Row], found: Sequence[set[str]], recipe: Recipe
) -> Iterator[Measure]:
    for name in dict.fromkeys((*(n for own in OWN.values() for n in own), *recipe.select.rules)):
        fits = {fault for fault, own in OWN.items() if name in own} | set(RIGHTLY.get(name, ()))
        hits = [row["fault"] for row, names in zip(rows, found, strict=True) if name in names]
        others = Counter(fault for fault in hits if fault not in fits)
        said = ", ".join(f"{fault} {n}" for fault, n in others.most_common(4))
        if hits and fits:
            right = len(hits) - others.total()
            yield _row_of(f"precision of {name}", right, len(hits), f">= {GOAL}", said or None)
        elif hits:  # nothing is planted for it
            clean = sum(row["fault"] == NONE for row in rows)
            yield _row_of(f"clean pictures that {name} finds", others[NONE], clean, None, said)


def _copies(rows: Sequence[Row], found: Sequence[set[str]], recipe: Recipe) -> Iterator[Measure]:
    group, right, pairs = components(rows, recipe)
    place = {row["index"]: i for i, row in enumerate(rows) if row["fault"] != TWIN}

    def copied(i: int) -> bool:
        return group[i] == group[place[rows[i]["original"]]]

    for fault in (*COPY_FAULTS, TWIN):
        all_of = [i for i, row in enumerate(rows) if row["fault"] == fault]
        parts = list(_strengths(rows, fault)) or [("", f">= {GOAL}", all_of)]
        for strength, goal, places in parts if all_of else ():
            known = [i for i in places if rows[i]["original"] >= 0]
            name = f"{fault}, {strength}".rstrip(", ")
            hits = sum(copied(i) for i in known)
            yield _row_of(f"{name}: found as a duplicate", hits, len(known), goal)
    yield Measure("precision of duplicates", right, f"of {pairs} pairs", f">= {GOAL}")


def _clean(rows: Sequence[Row], found: Sequence[set[str]], recipe: Recipe) -> Iterator[Measure]:
    flags = {name for name, rule in recipe.select.rules.items() if rule.action == "flag"}
    for what, faults in (("clean pictures", (NONE, TWIN)), ("rare files", RARE)):
        places = [i for i, row in enumerate(rows) if row["fault"] in faults]
        lost = [names for i in places if (names := found[i] - flags)]
        by = Counter(name for names in lost for name in names)
        said = ", ".join(f"{name} {n}" for name, n in by.most_common(4))
        goal = f"<= {CLEAN_LOST}"
        yield _row_of(f"{what} lost", len(lost), len(places), goal, said or None)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    command = parser(__doc__)
    command.add_argument("--seed", type=int, default=11, help="of the world; default 11")
    command.add_argument("--images", type=int, default=6000, help="pictures; default 6000")
    command.add_argument("--level", choices=LEVELS, default="core", help="of the world")
    command.add_argument("--workers", type=int, default=2, help="processes; default 2")
    command.add_argument(
        "--recipe", type=Path, default=Path(__file__).parents[1] / "configs/nano/recipe.yaml"
    )
    options = command.parse_args(arguments)
    recipe = load_recipe(options.recipe)
    images = 900 if options.quick else options.images
    world = WorldSettings(images, options.seed, options.level, fault_share=0.6, faults=PLANTED)
    rows = everything(Bench(world, recipe.inspect.signals), options.workers)
    publish(list(table(rows, recipe)), options.json)
    print("left out, a model must see them: unsafe, watermarked, dense_text, faults of captions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
