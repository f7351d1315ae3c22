"""`nucleus what-if` and `nucleus diff`: compare two selections, in numbers and on a page.

A what-if decides with the code of `select`. Its intermediate files are in its run's folder, and are
removed at the end; nothing below `tables/` changes.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.looking import going_without
from nucleus_data.corpus.runs import plans
from nucleus_data.corpus.tables import Table
from nucleus_data.corpus.told import command as told
from nucleus_data.corpus.told import key_of
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.line.recipe import Recipe, spelled_out
from nucleus_data.line.report import Report
from nucleus_data.pages.comparison import write_comparison
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.runner.pins import Pins
from nucleus_data.runner.run import Run
from nucleus_data.runner.workers import is_initialized
from nucleus_data.stage import Stage
from nucleus_data.stages.select.compare import Comparison, compare, content_of
from nucleus_data.stages.select.plan import TABLE, SelectionPlan, decision_table
from nucleus_data.stages.select.stage import Select, published_selection
from nucleus_data.stages.select.what_if import WhatIfTask, gather
from nucleus_data.views.compare_lines import lines

__all__ = ["INLINE_SHARDS", "diff", "find_selection", "lines", "what_if", "without_select"]

WORK = "what_if"
SHOWN_RUNS = 10
# Up to this number of shards, this process is done before Ray would have started.
INLINE_SHARDS = 64


@dataclass(frozen=True)
class Side:
    """One of the two selections.

    Attributes:
        name: Its name for people.
        table: The table with its decisions.
        settings: The settings that it was made with, key -> text; None if no run has them.
    """

    name: str
    table: Table
    settings: Mapping[str, Any] | None


def without_select(overrides: Sequence[str]) -> list[str]:
    """Removes overrides of `select`, to get the selection that a what-if is compared with."""
    spelled = spelled_out(overrides)
    pairs = zip(overrides, spelled, strict=True)
    return [o for o, key in pairs if key_of(key).partition(".")[0] != "select"]


def what_if(run: Run, recipe: Recipe, changed: Recipe) -> dict[str, Any]:
    """Decides about every record with other settings, and compares with the existing selection.

    Args:
        run: The run.
        recipe: The recipe of the existing selection.
        changed: The recipe with the other settings.

    Returns:
        The comparison, as it is stored in the run's folder; empty for a dry run, or if shards
        failed.

    Raises:
        RequestError: There is no selection to compare with, or a rule is wrong.
    """
    start = time.perf_counter()
    # Ray takes longer to start than these take here; where it runs, it is faster.
    if len(run.corpus.shards()) <= INLINE_SHARDS and not is_initialized():
        run = run.looping(InlineLoop)
    stages = changed.stages()
    now, then = _select(recipe.stages()), _select(stages)
    tried = run.trying(Pins.of(stages.values(), run.corpus))
    decisions = then.decisions(tried)  # raises first if a rule is wrong
    run.pin(_selection_of(run, now))
    tried.pin(then.pin(tried))
    if run.dry_run:
        shards = len(run.corpus.shards())
        run.say(f"what-if: {len(decisions.rules)} rules, {shards} shards to decide about")
        return {}
    sides = (_side("as it is", run, recipe), _side("what if", tried, changed))
    examples = recipe.section(Report).thumbnails
    # If the changed selection exists already, only compare the two tables.
    if then.published(tried, tried.tables):
        return going_without(run.corpus, lambda c: _compared(run, c, sides, start, examples))
    made = []

    def ledger(plan: SelectionPlan) -> WhatIfTask:
        made.append(plan)
        return WhatIfTask(plan, run.tables[TABLE], examples)

    try:
        if then.decide(run, tried, run.path(WORK), ledger).failed:
            return {}
        found = gather(run.corpus, made[0], made[0].groups(), examples)
    finally:
        try:
            run.corpus.store.remove_folder(run.path(WORK))
        except OSError as error:
            folder = run.corpus.store.url(run.path(WORK))
            raise CorpusError(f"{folder} can't be removed: {error}") from error
    return _compared(run, run.corpus, sides, start, examples, found)


def _select(stages: Mapping[str, Stage[Any]]) -> Select:
    found = stages[Select.name]
    assert isinstance(found, Select)
    return found


def _selection_of(run: Run, select: Select) -> Mapping[str, str]:
    """Returns the pins of the existing selection. Raises RequestError if there is none."""
    pins = select.named(run)
    if not select.published(run, pins):
        raise RequestError(
            "there is no selection for the current tables and rules (without the changes given "
            "here) to compare with; "
            f"run: {told('select', run.corpus.uri, options=run.choice.options())}"
        )
    return pins


def diff(run: Run, first: str, second: str, examples: int) -> dict[str, Any]:
    """Compares two selections.

    Args:
        run: The run.
        first: The selection before: a prefix of its config hash, or the name of a run.
        second: The selection after, in the same form.
        examples: Maximum number of pictures to show for each reason.

    Returns:
        The comparison, as it is stored in the run's folder.

    Raises:
        RequestError: One of them does not exist, or is ambiguous.
    """
    start = time.perf_counter()
    sides: list[Side] = []
    known = _plans(run.corpus, run.name)
    for text in (first, second):
        hashed = find_selection(run.corpus, text, known)
        table = Table(run.corpus.store, TABLE, hashed)
        config = next((p["config"] for p in known.values() if _selection(p) == hashed), None)
        name = f"{hashed} ({text})" if text in known else hashed
        sides.append(Side(name, table, _settings(config)))
    return going_without(run.corpus, lambda c: _compared(run, c, sides, start, examples))


def find_selection(corpus: Corpus, text: str, plans: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the config hash of a selection.

    Args:
        corpus: The corpus.
        text: A prefix of the hash, or the name of a run that pinned it.
        plans: Run -> its plan, newest first.

    Raises:
        RequestError: No selection matches, or several do; lists the existing ones.
    """
    hashes = [h for h in corpus.config_hashes(TABLE) if published_selection(corpus.store, h)]
    runs = [name for name, plan in plans.items() if _selection(plan) in hashes]
    if text in plans:
        pinned = _selection(plans[text])
        if pinned in hashes:
            return str(pinned)
        problem = f"the run {text} has no selection that still exists"
    else:
        found = [h for h in hashes if text and h.startswith(text)]
        if len(found) == 1:
            return found[0]
        if found:
            problem = f"several selections begin with {text!r}: {', '.join(found)}"
        else:
            problem = f"{text!r} matches no run and no beginning of a selection's config hash"
    more = f" and {len(runs) - SHOWN_RUNS} older ones" if len(runs) > SHOWN_RUNS else ""
    raise RequestError(
        f"{problem}. Selections: {', '.join(hashes) or 'none'}. "
        f"Runs with a selection: {', '.join(runs[:SHOWN_RUNS]) or 'none'}{more}"
    )


def _side(name: str, run: Run, recipe: Recipe) -> Side:
    """Returns the selection that a run pinned, with the recipe's settings."""
    table = decision_table(run.corpus.store, run.tables[TABLE])
    return Side(name, table, _settings(recipe.public()))


def _compared(
    run: Run,
    corpus: Corpus,
    sides: Sequence[Side],
    start: float,
    examples: int,
    found: Comparison | None = None,
) -> dict[str, Any]:
    """Compares two selections, and writes a page and a JSON file to the run's folder.

    Args:
        run: The run.
        corpus: Its corpus, possibly without damaged files.
        sides: The selections before and after.
        start: When the command started, by `time.perf_counter`.
        examples: Maximum number of pictures to show for each reason.
        found: The comparison, if it was made on the way.
    """
    before, after = sides
    if found is None:
        one, other = (decision_table(corpus.store, s.table.config_hash) for s in sides)
        found = compare(corpus, one, other, examples)
    name = run.command.replace("-", "_")
    content: dict[str, Any] = {
        "command": run.command,
        "run": run.name,
        "before": {"name": before.name, "selection": before.table.config_hash},
        "after": {"name": after.name, "selection": after.table.config_hash},
        "changes": _changes(before.settings, after.settings),
        **content_of(found),
        "left_out": [error.content() for error in corpus.left_out],
    }
    content["page"] = write_comparison(corpus, run.path(f"{name}.html"), content, found)
    content["seconds"] = round(time.perf_counter() - start, 3)
    text = json.dumps(content, sort_keys=True, indent=1)
    corpus.store.put(run.path(f"{name}.json"), text.encode())
    return content


def _changes(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> list[dict[str, str]]:
    """Returns the settings in which two selections differ; empty if those of one are unknown."""
    if before is None or after is None:
        return []
    names = [*before, *(name for name in after if name not in before)]
    return [
        {"key": name, "before": before.get(name, "none"), "after": after.get(name, "none")}
        for name in names
        if before.get(name) != after.get(name)
    ]


def _settings(config: Mapping[str, Any] | None) -> dict[str, str] | None:
    """Flattens a configuration's section `select`: key -> text, with one key per rule."""
    if config is None:
        return None
    select = config["select"]
    found = {
        f"rules.{name}": rule["where"] + (" (flag)" if rule["action"] == "flag" else "")
        for name, rule in select["rules"].items()
    }
    for key in ("drop_duplicates", "prefer", "tiers", "curriculum"):
        found[key] = json.dumps(select.get(key))  # earlier versions lack some
    return found


def _plans(corpus: Corpus, but: str) -> dict[str, dict[str, Any]]:
    """Returns run -> plan, newest first, of the runs that may name a selection.

    Left out are one run, runs without a readable plan, and comparisons: these pin the selection
    that existed before, not the one that they tried.

    Args:
        corpus: The corpus.
        but: The run to leave out.
    """
    return {
        name: plan
        for name, plan in plans(corpus.store)
        if name != but and plan.get("command") not in ("what-if", "diff")
    }


def _selection(plan: Mapping[str, Any]) -> str | None:
    hashed: str | None = plan["tables"].get(TABLE)
    return hashed
