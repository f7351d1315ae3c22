"""Measures how well the rules find planted faults, and the duplicate search planted copies.

    python scripts/bench_rules.py                       # four minutes on two busy cores
    python scripts/bench_rules.py --seed 12 --level full --json rules.json
    python scripts/bench_rules.py --pictures stamps --recipe configs/full/recipe.yaml

Every picture of a world is made in memory (with the same bytes as by `nucleus world`), decoded and
measured, and the recipe's rules decide about it. Near duplicates are searched among all pictures,
by `hash` and by `canonical`. No threshold was chosen on the default seed (they were chosen on 0 to
10, and 22).

With `--pictures`, the same faults and copies are planted into the pictures of a folder. Nothing is
planted into pictures that the recipe rejects unchanged; those that it rejects by their looks are
listed with the reasons. Use the full recipe for real pictures: more than half of the stamps are
smaller than 128 pixels, where a blur of a sixtieth of the side, or a border of a twentieth, is
hardly a pixel or two.

A rule's precision is the share of right findings among all its findings, without pictures that an
earlier rule (any rule, for a flag) rejects anyway. `RIGHTLY` (nucleus_data/world/expected.py) lists
the other faults that a rule may rightly find: a nearly black picture also has no detail. The wrong
findings are listed beside the precision. Rare files (CMYK, palettes, profiles) are not faults, and
count as clean. Not measured, as they need a model: unsafe, watermarked, dense_text, and faults of
captions.

Each fault that a rule is meant for has a goal. For copies, there are goals for the kinds that a
hash of the whole picture can find; crops and logos are reported without a goal. `false ones` are
pairs known to be wrong, among the candidates by 64 bits and among the confirmed pairs.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

# Must be set before numpy is imported; more threads would compete with the processes.
os.environ["OMP_NUM_THREADS"] = "1"

from nucleus_data.line.recipe import Recipe, load_recipe
from nucleus_data.stages.dedup.stage import Dedup
from nucleus_data.stages.inspect.stage import Inspect
from nucleus_data.world.expected import PLANTED
from nucleus_data.world.plan import NONE, WorldSettings
from nucleus_data.world.scenes import LEVELS
from scripts.benchmark import Measure, parser, publish
from scripts.rules import counting
from scripts.rules.copies import CANONICAL, PLAIN, among_originals, copies
from scripts.rules.measuring import Bench, Row, world
from scripts.rules.pictures import ORIGINAL, clean_rows, pictures_of, planted_rows


def table(rows: Sequence[Row], recipe: Recipe) -> Iterator[Measure]:
    """Decides about measured pictures, and yields the rows of the benchmark."""
    decided = counting.decided(rows, recipe)
    yield from counting.recalls(rows, decided)
    yield from counting.precisions(rows, decided, recipe)
    yield from copies(rows, PLAIN, recipe.section(Dedup))
    yield from copies(rows, CANONICAL, recipe.section(Dedup))
    yield from counting.clean(rows, decided, recipe)


def on_pictures(
    folder: Path, recipe: Recipe, bases: int, turns: int, workers: int
) -> tuple[list[Measure], list[str]]:
    """Measures one folder: the table, the files rejected by their looks, and near pairs.

    Args:
        folder: The folder with the pictures.
        recipe: The recipe whose rules decide.
        bases: Maximum number of pictures to plant into, evenly spread over the folder.
        turns: Number of strengths (of three) in which each fault is planted into each picture.
        workers: Number of processes.
    """
    signals = _signals(recipe)
    paths = pictures_of(folder)
    clean = clean_rows(paths, signals, workers)
    whole = [row for row in clean if row["fault"] == ORIGINAL]
    decided = counting.decided(clean, recipe)
    flags = counting.flags_of(recipe)
    rejected = {row["scene"] for row, names in zip(clean, decided, strict=True) if names - flags}
    good = [number for number in range(len(paths)) if number not in rejected]
    chosen = good[:: max(1, -(-len(good) // bases))]
    rows = planted_rows(paths, chosen, signals, turns, workers)
    rows += [row for row in clean if row["fault"] == NONE and row["scene"] in set(chosen)]
    measures, listed = [], []
    for measure, names in counting.originals(clean, decided, recipe):
        measures.append(measure)
        listed = names  # only those rejected by their looks, as all would be too many
    pairs, named = among_originals(whole, PLAIN, recipe.section(Dedup))
    return [*measures, *pairs, *table(rows, recipe)], [*listed, *named]


def _signals(recipe: Recipe) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*recipe.section(Inspect).signals, CANONICAL.name)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns the exit code."""
    command = parser(__doc__)
    command.add_argument("--seed", type=int, default=11, help="of the world; default 11")
    command.add_argument("--images", type=int, default=6000, help="pictures; default 6000")
    command.add_argument("--level", choices=LEVELS, default="core", help="of the world")
    command.add_argument("--workers", type=int, default=2, help="processes; default 2")
    command.add_argument(
        "--recipe", type=Path, default=Path(__file__).parents[1] / "configs/nano/recipe.yaml"
    )
    command.add_argument(
        "--pictures", type=Path, action="append", help="a folder instead of a world; repeatable"
    )
    command.add_argument(
        "--bases", type=int, default=60, help="pictures of a folder to plant into; default 60"
    )
    command.add_argument(
        "--turns", type=int, choices=(1, 2, 3), default=1, help="strengths a fault and picture"
    )
    options = command.parse_args(arguments)
    recipe = load_recipe(options.recipe)
    for folder in options.pictures or ():
        print(folder.name)
        bases = 9 if options.quick else options.bases
        measures, listed = on_pictures(folder, recipe, bases, options.turns, options.workers)
        publish(
            measures, options.json and options.json.with_stem(f"{options.json.stem}_{folder.name}")
        )
        print("lost by how they look, and pairs, as they are:", *(listed or ["none"]), sep="\n  ")
    if not options.pictures:
        images = 900 if options.quick else options.images
        settings = WorldSettings(
            images, options.seed, options.level, fault_share=0.6, faults=PLANTED
        )
        rows = world(Bench(settings, _signals(recipe)), options.workers)
        publish(list(table(rows, recipe)), options.json)
    print("left out, a model must see them: unsafe, watermarked, dense_text, faults of captions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
