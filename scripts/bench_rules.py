"""Whether the rules find what is wrong, and the duplicate search the copies, where truth is known.

    python scripts/bench_rules.py                       # four minutes on two busy cores
    python scripts/bench_rules.py --seed 12 --level full --json rules.json
    python scripts/bench_rules.py --pictures stamps --recipe configs/full/recipe.yaml

Every picture of a world is made in memory (its bytes are those that `nucleus world` writes), opened
and measured, and the recipe's rules decide about it; near duplicates are found among all of them,
by `hash` and by `canonical`. The default seed is one that no threshold was chosen on (those were: 0
to 10, and 22).

With `--pictures`, the same faults and copies are planted into pictures of a folder. Nothing is
planted into what the recipe rejects as it is; what it rejects by its looks is listed with the
reasons. Real pictures are for the full recipe: more than half of the stamps are below 128 pixels,
where a blur of a sixtieth of the side, or a border of a twentieth, is hardly a pixel or two.

A rule's precision is the share of fitting pictures among all that it finds, but for those that an
earlier rule (any rule, for a flag) rejects anyway. `RIGHTLY` (nucleus_data/world/expected.py) says
which faults fit beside its own: what is nearly black has no detail left. Beside a rule's precision
stand the pictures that don't fit. Rare files (CMYK, palettes, profiles) are no fault: they are
counted as clean. Not here, because a model is needed to see them: unsafe, watermarked, dense_text,
and faults of captions.

Each fault that a rule is there for has a goal. Of copies, the duplicate search is asked for what a
hash of the whole picture can tell; crops and logos are reported and have none. `false ones` are
wrong pairs by known truth: among candidates by 64 bits, and among confirmed pairs.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

# Before numpy: more threads would only get in each other's way.
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
    """Decides about measured pictures; yields the rows of the benchmark."""
    found = counting.decided(rows, recipe)
    yield from counting.recalls(rows, found)
    yield from counting.precisions(rows, found, recipe)
    yield from copies(rows, PLAIN, recipe.section(Dedup))
    yield from copies(rows, CANONICAL, recipe.section(Dedup))
    yield from counting.clean(rows, found, recipe)


def on_pictures(
    folder: Path, recipe: Recipe, bases: int, turns: int, workers: int
) -> tuple[list[Measure], list[str]]:
    """The table of one folder, the files lost by how they look, and near pairs among all.

    Args:
        folder: Where the pictures are.
        recipe: The configuration whose rules are asked.
        bases: At most so many pictures are planted into, evenly spread over the folder.
        turns: In how many of the three strengths each fault is planted into each.
        workers: Processes.
    """
    signals = _signals(recipe)
    paths = pictures_of(folder)
    clean = clean_rows(paths, signals, workers)
    whole = [row for row in clean if row["fault"] == ORIGINAL]
    found = counting.decided(clean, recipe)
    flags = counting.flags_of(recipe)
    rejected = {row["scene"] for row, names in zip(clean, found, strict=True) if names - flags}
    good = [number for number in range(len(paths)) if number not in rejected]
    chosen = good[:: max(1, -(-len(good) // bases))]
    rows = planted_rows(paths, chosen, signals, turns, workers)
    rows += [row for row in clean if row["fault"] == NONE and row["scene"] in set(chosen)]
    measures, listed = [], []
    for measure, names in counting.originals(clean, found, recipe):
        measures.append(measure)
        listed = names  # those lost by how they look; others are too many
    pairs, named = among_originals(whole, PLAIN, recipe.section(Dedup))
    return [*measures, *pairs, *table(rows, recipe)], [*listed, *named]


def _signals(recipe: Recipe) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*recipe.section(Inspect).signals, CANONICAL.name)))


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
