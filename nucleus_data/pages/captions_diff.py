"""The page that compares two caption sets: numbers, and pictures with both captions."""

import difflib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.states import FAILED
from nucleus_data.pages import queries
from nucleus_data.pages.charts.bars import bar
from nucleus_data.pages.charts.line_chart import Series, line_chart
from nucleus_data.pages.pairs import decisions_of
from nucleus_data.pages.pictures import thumbnails as fetch_thumbnails
from nucleus_data.pages.report import environment, versions
from nucleus_data.printed import visible

SIDES = ("first", "second")
LINES = {"first": "line-a", "second": "line-b"}
KINDS = {
    "different": ("The most different", "The fewest words in common, those with none by chance."),
    "random": ("By chance", "Chosen by a hash of their ids: the same ones every time."),
    "only_first": ("Only in the first", "The second set has no caption of these."),
    "only_second": ("Only in the second", "The first set has no caption of these."),
}
MOST_TOKENS = 800  # tokens of a caption that are compared word by word
BINS = 40
PIECES = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*|\s+|.", re.DOTALL)


def render_captions(
    corpus: Corpus,
    tables: Mapping[str, str],
    content: Mapping[str, Any],
    lengths: Mapping[str, Mapping[int, int]],
    made_at: datetime | None = None,
) -> str:
    """Returns the page's HTML.

    Args:
        corpus: The corpus.
        tables: Table name -> config hash, of the run; its selection has the failed files.
        content: The numbers and examples, from `views.captions_diff`.
        lengths: Side -> number of words -> number of captions.
        made_at: The time that is shown on the page; by default now.
    """
    known = queries.Tables(corpus, _selection(corpus, tables))
    places = [(e["shard"], e["row"]) for e in content["examples"]]
    records = queries.records(known, places)
    decided = decisions_of(known, places)
    # Files that failed are not opened again: they might crash the decoder.
    safe = (r for r in records.values() if r.id not in decided or decided[r.id].state != FAILED)
    values: dict[str, Any] = {
        **content,
        "made_at": (made_at or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M %Z").strip(),
        "versions": versions({}),
        "sides": SIDES,
        "vocabulary": content["words"]["vocabulary"],
        "lengths_chart": _lengths_chart(content, lengths),
        "overlap_chart": _spread({"words in common": content["overlap"]["bins"]}, 0.0, "overlap"),
        "similarity_chart": _similarity_chart(content),
        "vectors_chart": _vectors_chart(content),
        "bars": {kind: _bars(content, kind) for kind in ("gained", "lost")},
        "reasons": _rows_of(content, "reasons"),
        "retryable": _rows_of(content, "retryable"),
        "checked": _rows_of(content, "checks"),
        "groups": _groups(content, decided),
        "records": records,
        "pictures": fetch_thumbnails(corpus.store, safe),
    }
    return environment().get_template("captions_diff.html.j2").render(values)


def marked(first: str, second: str) -> tuple[list[tuple[bool, str]], list[tuple[bool, str]]]:
    """Splits two texts into pieces, each with whether the other text lacks its words."""
    one, other = (PIECES.findall(visible(text, keep="\n\t")) for text in (first, second))
    # Pieces after the first `MOST_TOKENS` are not compared.
    heads = [[piece.casefold() for piece in pieces[:MOST_TOKENS]] for pieces in (one, other)]
    matcher = difflib.SequenceMatcher(None, heads[0], heads[1], autojunk=False)
    mine, theirs = [False] * len(one), [False] * len(other)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag != "equal":
            mine[a:b] = [True] * (b - a)
            theirs[c:d] = [True] * (d - c)
    return _joined(one, mine), _joined(other, theirs)


def _joined(pieces: Sequence[str], changed: Sequence[bool]) -> list[tuple[bool, str]]:
    """Joins adjacent pieces with the same mark; spaces between changed words count as changed."""
    joined: list[tuple[bool, str]] = []
    for i, (piece, mark) in enumerate(zip(pieces, changed, strict=True)):
        if piece.isspace():
            mark = 0 < i < len(pieces) - 1 and changed[i - 1] and changed[i + 1]
        if joined and joined[-1][0] == mark:
            joined[-1] = (mark, joined[-1][1] + piece)
        else:
            joined.append((mark, piece))
    return joined


def _selection(corpus: Corpus, tables: Mapping[str, str]) -> dict[str, str]:
    """Returns the run's selection if it exists, or else any other selection."""
    hashes = corpus.config_hashes("selection")
    known = tables.get("selection")
    chosen = known if known in hashes else next(iter(hashes), None)
    return {"selection": chosen} if chosen else {}


def _groups(
    content: Mapping[str, Any], decided: Mapping[str, queries.Decision]
) -> list[dict[str, Any]]:
    """Returns the shown pictures by kind, with their captions in pieces."""
    groups = []
    for kind, (title, lead) in KINDS.items():
        shown = []
        for example in (e for e in content["examples"] if e["kind"] == kind):
            first, second = example["first"], example["second"]
            texts: Sequence[list[tuple[bool, str]]]
            if first is not None and second is not None:
                texts = marked(first, second)
            else:
                texts = [[(False, visible(t, keep="\n\t"))] if t else [] for t in (first, second)]
            decision = decided.get(example["id"]) or queries.Decision(
                example["shard"], example["row"], example["id"], "", [], {}, None, False
            )
            texts_of = dict(zip(SIDES, texts, strict=True))
            shown.append({**example, "texts": texts_of, "decision": decision})
        if shown:
            name = f"Only in {content[kind[5:]]['name']}" if kind.startswith("only") else title
            groups.append({"kind": kind, "title": name, "lead": lead, "shown": shown})
    return groups


def _lengths_chart(content: Mapping[str, Any], lengths: Mapping[str, Mapping[int, int]]) -> Any:
    """Draws the distributions of the number of words; the longest 2 % are left out."""
    tops = [_quantile(lengths[side], 0.98) for side in SIDES]
    width = max(1, -(-max(tops) // BINS))
    series = []
    for side in SIDES:
        total = max(sum(lengths[side].values()), 1)
        counts = [0] * (max(tops) // width + 1)
        for words, count in lengths[side].items():
            if words // width < len(counts):
                counts[words // width] += count
        points = [(i * width + (width - 1) / 2, 100 * n / total) for i, n in enumerate(counts)]
        series.append(Series(content[side]["name"], points, LINES[side]))
    return line_chart(series, "words", "% of captions", height=240)


def _quantile(lengths: Mapping[int, int], share: float) -> int:
    total, seen = sum(lengths.values()), 0
    for words, count in sorted(lengths.items()):
        seen += count
        if seen >= share * total:
            return words
    return 0


def _spread(series: Mapping[str, Sequence[int]], low: float, label: str) -> Any:
    """Draws counts in equal bins from `low` to 1 as lines, in per cent."""
    lines = []
    for (name, bins), css in zip(series.items(), LINES.values(), strict=False):
        total, step = max(sum(bins), 1), (1 - low) / max(len(bins), 1)
        points = [(low + (i + 0.5) * step, 100 * n / total) for i, n in enumerate(bins)]
        lines.append(Series(name, points, css))
    return line_chart(lines, label, "% of pairs", height=220)


def _similarity_chart(content: Mapping[str, Any]) -> Any:
    found = content["similarity"]
    if not found.get("pairs"):
        return None
    series = {content[side]["name"]: found["bins"][side] for side in SIDES}
    return _spread(series, found["low"], f"{found['kind']} with the picture")


def _vectors_chart(content: Mapping[str, Any]) -> Any:
    found = content["vectors"]
    return found and _spread({"both captions": found["bins"]}, found["low"], "cosine")


def _bars(content: Mapping[str, Any], kind: str) -> list[tuple[dict[str, Any], Any]]:
    """Returns the words, each with a bar as long as its change."""
    words = content["words"][kind]
    largest = max((abs(w["after"] - w["before"]) for w in words), default=0)
    css = "fill-kept" if kind == "gained" else "fill-rejected"
    return [(w, bar(abs(w["after"] - w["before"]), largest, css)) for w in words]


def _rows_of(content: Mapping[str, Any], kind: str) -> list[tuple[str, int, int]]:
    """Returns reasons, or checks, with their counts on both sides."""
    both = [content["failures"][side][kind] for side in SIDES]
    names = sorted({*both[0], *both[1]}, key=lambda n: (-max(b.get(n, 0) for b in both), n))
    return [(name, both[0].get(name, 0), both[1].get(name, 0)) for name in names]
