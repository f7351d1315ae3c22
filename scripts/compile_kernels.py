"""Compiles what numba compiles, into the cache beside the code: `scripts/install` ends with it.

Else each worker of the first run would do it by itself, for half a minute. Numba finds the cache as
long as the files are as they were.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from nucleus_data import load_recipe, run_line
from nucleus_data.stages.caption.checks.learned import learned
from nucleus_data.stages.dedup.search import near_pairs
from nucleus_data.world import render, scene

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "configs/nano/recipe.yaml"


def compile_kernels(folder: Path) -> None:
    """Measures and compares two pictures of each format, searches some codes, judges a caption.

    Args:
        folder: An empty folder for the pictures and their corpus.
    """
    pictures = folder / "pictures"
    pictures.mkdir()
    for number, ending in enumerate(("jpg", "png", "webp")):
        picture = render(scene(0, number), 300, 280)
        for copy in "ab":
            picture.save(pictures / f"{number}{copy}.{ending}")
    wanted = [f"corpus={folder / 'corpus'}", f"ingest.source={pictures}"]
    for partition in (1_000, 2):  # in memory, and through files
        overrides = [*wanted, f"dedup.partition_records={partition}"]
        line = ["ingest", "inspect", "dedup", "select"]
        run_line(load_recipe(RECIPE, overrides), line, inline=True, say=lambda _: None)
    codes = np.random.default_rng(0).integers(0, 1 << 62, 20_000, np.uint64)
    near_pairs(np.unique(np.concatenate([codes, codes[:100] ^ np.uint64(1)])))
    learned("refusal", "Two otters hold paws in a river.")


def main() -> None:
    """Compiles, in a folder that is gone afterwards."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compile_kernels(Path(folder))


if __name__ == "__main__":
    main()
