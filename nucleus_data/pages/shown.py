"""Chooses the records that the report shows as pictures: by reason, by mark, and kept ones."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nucleus_data.corpus.states import KEPT
from nucleus_data.pages import content, queries
from nucleus_data.pages.charts.bars import bar
from nucleus_data.sql import literal

# List columns of a selection: column, title, explanation, and SQL condition on the records.
MARKS = (
    (
        "flags",
        "Flags",
        "Rules that mark a record and do not reject it: what is flagged may be kept.",
        "true",
    ),
    (
        "nulls",
        "Rules without an answer",
        "The condition was NULL for these records (a value was missing); that does not reject.",
        "true",
    ),
    (
        "pending_on",
        "Pending on",
        "These tables have no row yet for records that the rules could not decide without them.",
        "state = 'pending'",
    ),
)


def reason_groups(tables: queries.Tables, limit: int) -> list[dict[str, Any]]:
    """Returns each reason with its sums, a bar and examples."""
    found = queries.reasons(tables)
    largest = max((reason.count for reason in found), default=0)
    conditions = [queries.in_state(reason.state, reason.name) for reason in found]
    shown = queries.examples_of(tables, conditions, limit) if found else []
    return [
        {
            "reason": reason,
            "anchor": f"reason-{number}",
            "bar": bar(reason.count, largest, f"fill-{reason.state}"),
            "examples": [about(decision, reason.condition) for decision in examples],
        }
        for number, (reason, examples) in enumerate(zip(found, shown, strict=True), 1)
    ]


def marks(tables: queries.Tables, plan: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
    """Returns flags, rules without an answer, and missing tables, each with its examples.

    Args:
        tables: The run's tables.
        plan: The run's plan, which has the conditions of its rules.
        limit: Most examples of each.
    """
    rules = ((plan.get("config") or {}).get("select") or {}).get("rules") or {}
    sections = []
    for column, title, lead, condition in MARKS:
        counts = queries.listed(tables, column, condition)
        shown = with_items(tables, column, [name for name, _ in counts], limit, condition)
        groups = [
            {
                "name": name,
                "count": count,
                "anchor": f"{column}-{number}",
                "condition": (rules.get(name) or {}).get("where"),
                "reason": (rules.get(name) or {}).get("reason"),
                "verb": "flags" if (rules.get(name) or {}).get("action") == "flag" else "rejects",
                "examples": examples,
            }
            for number, ((name, count), examples) in enumerate(zip(counts, shown, strict=True), 1)
        ]
        if groups:
            sections.append({"column": column, "title": title, "lead": lead, "groups": groups})
    return sections


def kept_section(
    tables: queries.Tables, captions: Mapping[str, Any], kept: int, limit: int
) -> dict[str, Any]:
    """Returns some kept records with a caption each, if possible others than those with captions.

    Args:
        tables: The run's tables.
        captions: The section about captions, whose records are avoided.
        kept: Number of kept records.
        limit: Most records that are shown.
    """
    avoided = {decision.id for decision in captions["examples"]}
    candidates = queries.examples(tables, KEPT, None, limit + len(avoided))
    shown = ([d for d in candidates if d.id not in avoided] or candidates)[:limit]
    texts = content.captions(tables, shown)
    return {
        "examples": shown,
        "texts": {
            d.id: next((c.text for c in texts[d.id] if c.text and not c.error), None) for d in shown
        },
        "more": kept - len(shown),
    }


def about(decision: queries.Decision, condition: str | None) -> queries.Decision:
    """Returns the decision with only those values that a rule's condition reads."""
    if not condition:
        return decision
    words = set(re.findall(r"[\w.]+", condition))
    read = {name: value for name, value in decision.values.items() if name in words}
    return replace(decision, values=read) if read else decision


def with_items(
    tables: queries.Tables,
    column: str,
    items: Sequence[str],
    limit: int,
    condition: str = "true",
) -> list[list[queries.Decision]]:
    """Returns for each item of a list column some decisions that have it, by a keyed hash."""
    conditions = [f"list_contains({column}, {literal(item)}) and {condition}" for item in items]
    return queries.examples_of(tables, conditions, limit) if items else []
