"""Two selections compared, in lines for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nucleus_data.corpus.looking import without_lines
from nucleus_data.corpus.states import KEPT

MOVES = ("leaving", "entering")


def lines(content: Mapping[str, Any]) -> Iterator[str]:
    """The counts for people."""
    kept = {
        side: sum(s["records"] for s in content["states"] if s[side] == KEPT)
        for side in ("before", "after")
    }
    yield (
        f"{content['changed']:,} of {content['records']:,} records change: "
        f"{content['leaving']['records']:,} leave, {content['entering']['records']:,} enter, "
        f"kept {kept['before']:,} -> {kept['after']:,}"
    )
    if content["otherwise"]:
        yield f"{content['otherwise']:,} keep their state, but for other reasons"
    for change in content["changes"]:
        yield f"  {change['key']}: {change['before']} -> {change['after']}"
    moves = [s for s in content["states"] if s["before"] != s["after"]]
    yield from _table(
        ("state", "records"), [(f"{s['before']} -> {s['after']}", s["records"]) for s in moves]
    )
    for direction in MOVES:
        reasons = content[direction]["reasons"]
        rows = [(f"{r['state']}: {r['reason']}", r["records"]) for r in reasons]
        yield from _table((direction, "records"), rows)
    yield from _table(
        ("source", "records", "kept before", "kept after", *MOVES),
        [
            [s[c] for c in ("source", "records", "kept_before", "kept_after", *MOVES)]
            for s in content["sources"]
        ],
    )
    yield from _table(
        ("tier", "kept before", "kept after", *MOVES),
        [
            [t["tier"] or "none", *(t[c] for c in ("kept_before", "kept_after", *MOVES))]
            for t in content["tiers"]
        ],
    )
    yield from _table(
        ("curriculum bucket", "kept before", "kept after", *MOVES),
        [
            [b["bucket"] or "none", *(b[c] for c in ("kept_before", "kept_after", *MOVES))]
            for b in content["buckets"]
        ],
    )
    for name, verb in (("rules", "rejects"), ("flags", "flags")):
        yield from _table(
            ("rule", f"newly {verb}", f"no longer {verb}"),
            [(r["rule"], r["newly"], r["no_longer"]) for r in content[name]],
        )
    yield from without_lines(content["left_out"])
    yield str(content["page"])


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """A table whose first column is text and whose others are numbers; none without rows."""
    if not rows:
        return
    cells = [heads, *([str(first), *(f"{n:,}" for n in rest)] for first, *rest in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *rest in cells:
        numbers = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        yield "  ".join(["", first.ljust(widths[0]), *numbers])
