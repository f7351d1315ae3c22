"""A recipe changed, and what the change does: two selections of one corpus, counted side by side.

    python scripts/examples/change_recipe.py CORPUS 'select.rules.wide=aspect > 1.5'

Deciding again touches no picture. (`nucleus what-if` says the same with pictures, and writes no
table.)
"""

import sys
from pathlib import Path

from nucleus_data import Corpus, load_recipe, run_line

RECIPE = Path(__file__).resolve().parents[2] / "configs/nano/recipe.yaml"


def main(uri: str, *changes: str) -> None:
    """Selects with the recipe as it is, then with the changes, and counts who moved."""
    selections = []
    for overrides in ((), changes):
        recipe = load_recipe(RECIPE, [f"corpus={uri}", *overrides])
        selections.append(run_line(recipe, ["dedup", "select"], inline=True).tables["selection"])
    corpus = Corpus(uri)
    before, after = (corpus.table("selection", hashed) for hashed in selections)
    both = before.set_alias("b").join(after.set_alias("a"), "id")
    moved = both.aggregate("b.state AS before, a.state AS after, count(*) AS records")
    moved.order("before, after").show()


if __name__ == "__main__":
    main(*sys.argv[1:])
