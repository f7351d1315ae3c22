"""`nucleus fit-curriculum`: fits the constants of curriculum buckets, and writes them to a file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nucleus_data.corpus.told import command as told
from nucleus_data.errors import RequestError
from nucleus_data.line.recipe import Recipe
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.runner.run import Run
from nucleus_data.runner.workers import is_initialized
from nucleus_data.stages.select.check import check_decisions, upstream_columns
from nucleus_data.stages.select.curriculum import KEY, Curriculum, check_curriculum
from nucleus_data.stages.select.draw import BUCKETS, NAMES
from nucleus_data.stages.select.expression import Names
from nucleus_data.stages.select.fit import CurriculumFit, Sketch, fitted, save_fit
from nucleus_data.stages.select.fitting import FitTask, gathered
from nucleus_data.stages.select.plan import TABLE, Decisions, SelectionPlan
from nucleus_data.stages.select.settings import CurriculumSettings, SelectSettings
from nucleus_data.stages.select.stage import Select
from nucleus_data.views.compare import INLINE_SHARDS

WORK = "_fit"


def fit_curriculum(run: Run, recipe: Recipe, file: Path) -> dict[str, Any]:
    """Fits the constants to the kept records, and writes them.

    Args:
        run: The run; it pins nothing.
        recipe: The recipe; without `select.curriculum`, default settings are used.
        file: The JSON file to write.

    Returns:
        The result, for `lines`; empty if shards failed.

    Raises:
        RequestError: There is no selection, there are no tiers or no records to fit, or a setting
            is wrong.
    """
    settings = recipe.section(Select)
    own = settings.curriculum or CurriculumSettings()
    curriculum, decisions = _decisions(run, settings, own)
    select, selection = _selection(run, recipe)
    corpus = run.corpus
    plan = SelectionPlan(
        corpus.uri,
        corpus.store.storage_options,
        decisions,
        run.tables,
        corpus.shards(),
        root=run.path(WORK),
    )
    # For few shards, starting Ray would take longer than the work.
    if len(plan.shards) <= INLINE_SHARDS and not is_initialized():
        run = run.looping(InlineLoop)
    groups = plan.groups()
    task = FitTask(plan, selection)
    report = run.loop(select, task, plan.items(groups), len(groups), phase="fit", keep=False)
    report.stage = run.command
    run.keep(report, quiet=True)
    if report.failed:
        return {}
    sketch = gathered(corpus, plan, groups)
    assert decisions.tiers is not None, "check_curriculum asks for tiers"
    tiers = decisions.tiers
    fit = fitted(sketch, tiers.score.text, tiers.bounds, own.size, own.quality_weight)
    save_fit(fit, file)
    return {
        "file": str(file),
        "selection": selection,
        "kept": report.summary.rows,
        "records": fit.records,
        "mean": fit.mean,
        "deviation": fit.deviation,
        "expected": expected(curriculum, fit, sketch),
    }


def expected(curriculum: Curriculum, fit: CurriculumFit, sketch: Sketch) -> dict[str, float]:
    """Returns bucket (B1 to B8) -> expected number of records, with premium ones included."""
    keys = sorted(sketch)
    tiers, sizes = (np.array(column, np.float64) for column in zip(*keys, strict=True))
    counts = np.array([sketch[key] for key in keys])
    found = counts @ curriculum.chances(fit.standardised(tiers, sizes))
    return dict(zip(NAMES[:BUCKETS], found.tolist(), strict=True))


def lines(content: dict[str, Any]) -> Iterator[str]:
    """Yields the result as lines for people."""
    without = content["kept"] - content["records"]
    yield (
        f"fitted on {content['records']:,} kept records of selection {content['selection']}: "
        f"mean {content['mean']:.4f}, deviation {content['deviation']:.4f}"
    )
    if without:
        yield f"  {without:,} more have no tier or no size, so they will have no bucket"
    total = content["records"]
    filling = (f"{name} {100 * n / total:.1f} %" for name, n in content["expected"].items())
    yield f"  expected filling: {', '.join(filling)}"
    yield f"use it with select.curriculum.fitted={content['file']}"
    yield content["file"]


def _decisions(
    run: Run, settings: SelectSettings, own: CurriculumSettings
) -> tuple[Curriculum, Decisions]:
    """Checks tiers and size; returns the curriculum, and decisions that evaluate only these."""
    upstream = upstream_columns(run.corpus)
    without = settings.model_copy(update={"curriculum": None})
    tiers = check_decisions(without, run.pins, upstream).tiers
    names = Names(run.pins.catalog(), [n.removeprefix("source.") for n in upstream])
    if tiers is None:
        raise RequestError(
            f"{KEY} needs quality tiers, but select.tiers.score is not set; give a score in SQL, "
            "for example select.tiers.score=pleasantness"
        )
    # The premium condition does not matter here, so its tables need not exist.
    curriculum = check_curriculum(own, tiers, names, drawing=False)
    asked = check_curriculum(own.model_copy(update={"premium": None}), tiers, names, drawing=False)
    return curriculum, Decisions([], [], [], tiers, asked)


def _selection(run: Run, recipe: Recipe) -> tuple[Select, str]:
    """Returns the selection for the current tables and rules: without buckets, or with older ones.

    Raises:
        RequestError: There is none.
    """
    settings = recipe.section(Select)
    without = settings.model_copy(update={"curriculum": None})
    for chosen in (without, settings) if settings.curriculum else (without,):
        select = recipe.model_copy(update={"select": chosen}).stages()[Select.name]
        assert isinstance(select, Select)
        try:
            hashed = select.named(run)[TABLE]
        except RequestError:
            if chosen is without:
                raise
            break  # there are no old constants, or they are of other tiers
        if select.published(run, {TABLE: hashed}):
            return select, hashed
    raise RequestError(
        "there is no selection for the current tables and rules to fit on; run: "
        f"{told('select', run.corpus.uri, 'select.curriculum=null')}"
    )
