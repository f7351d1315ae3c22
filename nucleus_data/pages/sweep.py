"""The page of a sweep: quality over the number of kept records, for each value of a setting."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nucleus_data.pages.charts.line_chart import Series, line_chart
from nucleus_data.pages.report import environment, versions


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes the results of a sweep; equal results give equal files."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def render_sweep(content: Mapping[str, Any], made_at: datetime | None = None) -> str:
    """Returns the page's HTML.

    Args:
        content: The content of a sweep's `sweep.json`.
        made_at: The time that is shown on the page; by default now.
    """
    values: dict[str, Any] = {
        **content,
        "chart": _chart(content),
        "made_at": (made_at or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M %Z").strip(),
        "versions": versions({}),
    }
    return environment().get_template("sweep.html.j2").render(values)


def _chart(content: Mapping[str, Any]) -> Any:
    """Draws the difference of the loss, with its interval, over the number of kept records."""
    base = content["as_it_is"]["kept"]
    drawn = [row for row in content["values"] if "loss" in row and row["kept"] is not None]
    drawn.sort(key=lambda row: row["kept"])
    if base is None or not drawn:
        return None
    points = [(row["kept"], row["loss"]["mean"]) for row in drawn]
    spans = [
        tuple(mean if (end := row["loss"][name]) is None else end for name in ("low", "high"))
        for row in drawn
        for mean in [row["loss"]["mean"]]
    ]
    ends = [base, *(row["kept"] for row in drawn)]
    return line_chart(
        [
            Series("no difference", [(min(ends), 0), (max(ends), 0)], "line-faint"),
            Series("A, as it is", [(base, 0)], "line-a", marks=True),
            Series("each value", points, "line-b", True, spans),
        ],
        "records that are kept",
        "loss, B minus A",
    )
