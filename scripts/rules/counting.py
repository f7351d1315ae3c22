"""From measured rows to recall and precision of rules."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from nucleus_data.errors import RequestError
from nucleus_data.line.recipe import Recipe
from nucleus_data.stages.inspect.stage import Inspect
from nucleus_data.stages.select.decide import decide
from nucleus_data.stages.select.judge import Shard, judge
from nucleus_data.stages.select.rules import Rule, check_rules
from nucleus_data.stages.select.settings import SelectSettings
from nucleus_data.stages.select.stage import Select
from nucleus_data.world.expected import ABOUT_FILES, FRAMED, OWN, PALE, RARE, RIGHTLY, TWIN
from nucleus_data.world.plan import NONE, STRENGTHS
from scripts.benchmark import Measure
from scripts.rules.measuring import Row, groups, strengths
from scripts.rules.pictures import ORIGINAL

GOAL = 0.98
CLEAN_LOST = 0.005


def share(name: str, hits: int, n: int, goal: str | None, against: str | None = None) -> Measure:
    """A row of the table: hits of n."""
    value = hits / n if n else float("nan")
    return Measure(name, float(f"{value:.4g}"), f"of {n}", goal, 1, 0.0, against)


def goal_of(strength: str) -> str | None:
    """The goal at a strength: the low one is only reported."""
    return None if strength == STRENGTHS[0] else f">= {GOAL}"


def checked(recipe: Recipe) -> list[Rule]:
    """The rules that need nothing but what `inspect` measures."""
    catalog = {
        field.name: f"inspect.{group.name}"
        for group in groups(recipe.section(Inspect).signals)
        for field in group.schema
    }
    found: list[Rule] = []
    for name, rule in recipe.section(Select).rules.items():
        try:
            found += check_rules(SelectSettings(rules={name: rule}), catalog, ())
        except RequestError as error:  # it reads scores of models
            print(f"left out: {error}", file=sys.stderr)
    return found


def decided(rows: Sequence[Row], recipe: Recipe) -> list[set[str]]:
    """Names the rules that find each row, rejecting or flagging, and its error if it has one."""
    count = len(rows)
    tables = {}
    good = [number for number, row in enumerate(rows) if not row["error"]]
    for group in groups(recipe.section(Inspect).signals):
        fields = [
            pa.array([rows[i][field.name] for i in good], field.type) for field in group.schema
        ]
        names = ["row", "error", *group.schema.names]
        columns = [pa.array(good, pa.int32()), pa.nulls(len(good), pa.string()), *fields]
        tables[f"inspect.{group.name}"] = pa.table(columns, names=names)
    records = pa.table(
        {
            "shard": pa.array(np.zeros(count), pa.int32()),
            "row": pa.array(np.arange(count), pa.int32()),
            "id": [f"{number:08d}" for number in range(count)],
            "error": pa.array([row["error"] for row in rows], pa.string()),
            "retryable": pa.array([False] * count),
        }
    )
    rules = checked(recipe)
    required = sorted({table for rule in rules for table in rule.tables})
    answers = judge([Shard(records, tables, {})], rules, required)
    found = decide(answers, rules, required)
    lists = zip(found["reasons"].to_pylist(), found["flags"].to_pylist(), strict=True)
    return [{*reasons, *flags} for reasons, flags in lists]


def flags_of(recipe: Recipe) -> set[str]:
    """The rules that reject nothing."""
    return {name for name, rule in recipe.section(Select).rules.items() if rule.action == "flag"}


def recalls(rows: Sequence[Row], found: Sequence[set[str]]) -> Iterator[Measure]:
    """Measures the share of each fault and strength that its own rules find."""
    own = {**OWN, PALE: OWN["over_exposed"], **dict.fromkeys(FRAMED, ("framed",))}
    for fault, names in own.items():
        for strength, places in strengths(rows, fault):
            hits = sum(bool(found[i] & set(names)) for i in places)
            what = " or ".join(names)
            goal = None if fault == PALE else goal_of(strength)
            yield share(f"{fault}, {strength}: found by {what}", hits, len(places), goal)


def precisions(rows: Sequence[Row], found: Sequence[set[str]], recipe: Recipe) -> Iterator[Measure]:
    """Measures the share of fitting pictures among those that each rule finds.

    What does not fit is left out if a rule before it in the recipe (for a flag, any) rejects it:
    the later one changes nothing. So is what a flag finds in the clean picture too.
    """
    flags, rules = flags_of(recipe), recipe.section(Select).rules
    rejecting = [name for name in rules if name not in flags]
    clean = {row["index"]: names for row, names in zip(rows, found, strict=True)}
    for name in dict.fromkeys((*(n for own in OWN.values() for n in own), *rules)):
        fits = {fault for fault, own in OWN.items() if name in own} | set(RIGHTLY.get(name, ()))
        earlier = set(rejecting[: rejecting.index(name)] if name in rejecting else ())
        if name in flags:
            earlier = set(rejecting)
        hits = [
            row["fault"]
            for row, names in zip(rows, found, strict=True)
            if name in names
            and row["fault"] != ORIGINAL
            and (row["fault"] in fits or not names & earlier)
            and not (name in flags and "name" in row and name in clean.get(row["original"], ()))
        ]
        others = Counter(fault for fault in hits if fault not in fits)
        said = ", ".join(f"{fault} {n}" for fault, n in others.most_common(4))
        if hits and fits:
            right = len(hits) - others.total()
            yield share(f"precision of {name}", right, len(hits), f">= {GOAL}", said or None)
        elif hits:  # nothing is planted for it
            count = sum(row["fault"] == NONE for row in rows)
            yield share(f"clean pictures that {name} finds", others[NONE], count, None, said)


def clean(rows: Sequence[Row], found: Sequence[set[str]], recipe: Recipe) -> Iterator[Measure]:
    """Measures the share of the pictures without a fault that is lost."""
    flags = flags_of(recipe)
    for what, faults in (("clean pictures", (NONE, TWIN)), ("rare files", RARE)):
        places = [i for i, row in enumerate(rows) if row["fault"] in faults]
        lost = [names for i in places if (names := found[i] - flags)]
        by = Counter(name for names in lost for name in names)
        said = ", ".join(f"{name} {n}" for name, n in by.most_common(4))
        yield share(f"{what} lost", len(lost), len(places), f"<= {CLEAN_LOST}", said or None)


def originals(
    rows: Sequence[Row], found: Sequence[set[str]], recipe: Recipe
) -> Iterator[tuple[Measure, list[str]]]:
    """Measures the share of real pictures lost by size or type, and by how they look.

    Yields:
        A row of the table, and the files with their reasons.
    """
    flags = flags_of(recipe)
    places = [i for i, row in enumerate(rows) if row["fault"] == ORIGINAL]
    for about_files in (True, False):
        lost = {}
        for i in places:
            names = found[i] - flags
            if names and about_files == (names <= set(ABOUT_FILES)):
                lost[rows[i]["name"]] = names
        by = Counter(name for names in lost.values() for name in names)
        said = ", ".join(f"{name} {n}" for name, n in by.most_common(6)) or None
        what = "size, shape or type" if about_files else "how they look"
        goal = None if about_files else f"<= {CLEAN_LOST}"
        listed = [f"{name}: {', '.join(sorted(names))}" for name, names in sorted(lost.items())]
        yield share(f"originals lost by {what}", len(lost), len(places), goal, said), listed
