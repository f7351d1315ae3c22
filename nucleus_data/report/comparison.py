"""The page of a comparison: its numbers, and pictures that would leave and enter, by reason."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.report import charts, queries
from nucleus_data.report.page import environment, versions
from nucleus_data.report.pictures import thumbnails as fetch_thumbnails
from nucleus_data.report.sections import about
from nucleus_data.select.compare import STATES, Comparison, Group
from nucleus_data.tables import Table

DECISION_COLUMNS = (
    *("shard", "row", "id", "state", "reasons", "values"),
    *("duplicate_of", "retryable"),
)
TITLES = {
    "leaving": ("Leaving", "Kept before, and no longer: by the reason that they have after."),
    "entering": ("Entering", "Not kept before, and kept after: by the reason that they had."),
}


def write_comparison(
    corpus: Corpus,
    name: str,
    content: Mapping[str, Any],
    found: Comparison,
    tables: Mapping[str, Table],
    made_at: datetime | None = None,
) -> str:
    """Writes the page and returns its path or URL.

    Args:
        corpus: The corpus.
        name: Where in the corpus.
        content: The counts, from `content_of`, with `command`, `run`, `before`, `after`, `changes`.
        found: The comparison; its examples are shown.
        tables: `leaving` and `entering` -> the selection that gives the reasons.
        made_at: The time that the page names; now, by default.
    """
    examples = {
        group: [
            about(decision, condition)
            for decision, condition in _decisions(tables[group[0]], places, group[2])
        ]
        for group, places in found.examples.items()
    }
    decisions = [decision for some in examples.values() for decision in some]
    known = queries.Tables(corpus, {})
    records = queries.records(known, ((d.shard, d.row) for d in decisions))
    safe = {d.id for d in decisions if d.state != "failed"}
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
            moves=[_move(direction, content, examples) for direction in TITLES],
            states=[s for s in STATES if s in queries.STATES or s in seen],
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
    """A direction's groups, each with a bar and its pictures."""
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
                "bar": charts.bar(reason["records"], largest, f"fill-{_fill(reason['state'])}"),
                "fill": f"fill-{_fill(reason['state'])}",
                "examples": examples.get((direction, reason["state"], reason["reason"]), []),
            }
            for number, reason in enumerate(reasons, 1)
        ],
    }


def _fill(state: str) -> str:
    return state if state in queries.STATES else "undecided"


def _kept(content: Mapping[str, Any]) -> tuple[int, int]:
    before, after = (
        sum(s["records"] for s in content["states"] if s[side] == "kept")
        for side in ("before", "after")
    )
    return before, after


def _decisions(
    table: Table, places: Sequence[tuple[str, int, int]], reason: str
) -> list[tuple[queries.Decision, str | None]]:
    """The decisions at these places, in their order, each with the reason's condition."""
    found: dict[tuple[int, int], tuple[queries.Decision, str | None]] = {}
    for shard in sorted({shard for _, shard, _ in places}):
        rows = [row for _, number, row in places if number == shard]
        part = table.read(shard)
        if part is None:
            continue
        mine = part.filter(pc.is_in(part.column("row"), pa.array(rows, pa.int32())))
        for line in mine.to_pylist():
            conditions = dict(zip(line["reasons"] or [], line["conditions"] or [], strict=False))
            decision = queries.decision(tuple(line[c] for c in DECISION_COLUMNS))
            found[shard, line["row"]] = decision, conditions.get(reason)
    return [found[shard, row] for _, shard, row in places if (shard, row) in found]
