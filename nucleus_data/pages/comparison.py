"""The page of a comparison of two selections: numbers, and pictures that leave or enter."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.states import FAILED, KEPT, STATES
from nucleus_data.pages import queries
from nucleus_data.pages.charts.bars import bar
from nucleus_data.pages.pictures import thumbnails as fetch_thumbnails
from nucleus_data.pages.report import environment, versions
from nucleus_data.pages.shown import about
from nucleus_data.stages.select.compare import SIDES, Comparison, Group

DECISION_COLUMNS = (
    *("shard", "row", "id", "state", "reasons", "values"),
    *("duplicate_of", "retryable"),
)
FLAGGED = (("newly", "newly flagged"), ("no_longer", "no longer flagged"))
TITLES = {
    "leaving": ("Leaving", "Kept before, and no longer: by the reason that they have after."),
    "entering": ("Entering", "Not kept before, and kept after: by the reason that they had."),
}


def write_comparison(
    corpus: Corpus,
    name: str,
    content: Mapping[str, Any],
    found: Comparison,
    made_at: datetime | None = None,
) -> str:
    """Writes the page and returns its path or URL.

    Args:
        corpus: The corpus.
        name: Path of the page below the corpus.
        content: The counts, from `content_of`, with `command`, `run`, `before`, `after`, `changes`.
        found: The comparison; its examples are shown.
        made_at: The time that is shown on the page; by default now.
    """
    examples = {
        group: [_about(line, group[2]) for _, _, _, line in some if line is not None]
        for group, some in found.examples.items()
    }
    decisions = [decision for some in examples.values() for decision in some]
    known = queries.Tables(corpus, {})
    records = queries.records(known, ((d.shard, d.row) for d in decisions))
    safe = {d.id for d in decisions if d.state != FAILED}
    pictures = fetch_thumbnails(corpus.store, (r for r in records.values() if r.id in safe))
    seen = {s[side] for s in content["states"] for side in ("before", "after")}
    page = (
        environment()
        .get_template("comparison.html.j2")
        .render(
            {**content, "records_total": content["records"]},
            corpus=corpus.uri,
            made_at=(made_at or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M %Z").strip(),
            versions=versions({}),
            kept=_kept(content),
            flag_groups=[
                {
                    **rule,
                    "examples": [
                        (title, rule[kind], examples[kind, "flag", rule["rule"]])
                        for kind, title in FLAGGED
                        if rule[kind] and (kind, "flag", rule["rule"]) in examples
                    ],
                }
                for rule in content["flags"]
            ],
            moves=[_move(direction, content, examples) for direction in TITLES],
            states=[s for s in SIDES if s in STATES or s in seen],
            by_state={(s["before"], s["after"]): s["records"] for s in content["states"]},
            records=records,
            pictures=pictures,
        )
    )
    corpus.store.put(name, page.encode("utf-8", "replace"))
    return corpus.store.url(name)


def _move(
    direction: str, content: Mapping[str, Any], examples: Mapping[Group, list[queries.Decision]]
) -> dict[str, Any]:
    """Returns the groups of a direction, each with a bar and its pictures."""
    reasons = content[direction]["reasons"]
    largest = max((r["records"] for r in reasons), default=0)
    title, lead = TITLES[direction]
    return {
        "direction": direction,
        "title": title,
        "lead": lead,
        "records": content[direction]["records"],
        "groups": [
            {
                **reason,
                "anchor": f"{direction}-{number}",
                "bar": bar(reason["records"], largest, f"fill-{_fill(reason['state'])}"),
                "fill": f"fill-{_fill(reason['state'])}",
                "examples": examples.get((direction, reason["state"], reason["reason"]), []),
            }
            for number, reason in enumerate(reasons, 1)
        ],
    }


def _fill(state: str) -> str:
    return state if state in STATES else "undecided"


def _kept(content: Mapping[str, Any]) -> tuple[int, int]:
    before, after = (
        sum(s["records"] for s in content["states"] if s[side] == KEPT)
        for side in ("before", "after")
    )
    return before, after


def _about(line: Mapping[str, Any], reason: str) -> queries.Decision:
    """Makes the decision to show, with only the values that the reason's condition reads."""
    conditions = dict(zip(line["reasons"] or [], line["conditions"] or [], strict=False))
    decision = queries.decision(tuple(line[column] for column in DECISION_COLUMNS))
    return about(decision, conditions.get(reason))
