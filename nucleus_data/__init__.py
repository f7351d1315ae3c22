"""Nucleus Data: curates, captions and shards image corpora, and proves that the data is good.

The proof is a quick training run.

    from nucleus_data import Corpus, load_recipe, run_line

    recipe = load_recipe("configs/nano/recipe.yaml", ["corpus=c", "ingest.source=pictures"])
    run_line(recipe, ["ingest", "inspect", "dedup", "select"])
    corpus = Corpus("c")
    corpus.table("selection").filter("state = 'rejected'").aggregate("reasons, count(*)").show()

`RowStage` and `SignalGroup` are what a stage and a signal of your own are made of;
`join_captions` gives webdataset the captions of a training set. The command
`nucleus --help` lists the stages; README.md draws the line from pictures to a trained model.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nucleus_data.corpus import Corpus
    from nucleus_data.line.lines import run_line
    from nucleus_data.line.recipe import load_recipe
    from nucleus_data.sets.join import join_captions
    from nucleus_data.signals import SignalGroup
    from nucleus_data.stage import RowStage

__version__ = "0.1.0"
__all__ = [
    "Corpus",
    "RowStage",
    "SignalGroup",
    "__version__",
    "join_captions",
    "load_recipe",
    "run_line",
]

_HOMES = {
    "Corpus": "nucleus_data.corpus",
    "RowStage": "nucleus_data.stage",
    "SignalGroup": "nucleus_data.signals",
    "join_captions": "nucleus_data.sets.join",
    "load_recipe": "nucleus_data.line.recipe",
    "run_line": "nucleus_data.line.lines",
}


def __getattr__(name: str) -> Any:
    # Imported when first asked for: whoever only reads tables waits for no stage, and the command
    # can say that it was stopped from its first moment on.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
