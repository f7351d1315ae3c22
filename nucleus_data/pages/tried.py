"""The page of trial captions: pictures with what every variant was asked and said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.pages import queries
from nucleus_data.pages.pictures import thumbnails
from nucleus_data.pages.report import environment, versions
from nucleus_data.printed import visible

SIDE = 480  # of a picture, in pixels


@dataclass(frozen=True)
class TriedVariant:
    """What a variant made of a picture.

    Attributes:
        name: The variant.
        prompt: The prompt's name.
        model: The model that was asked, where there are several.
        asked: Whether a run would make it of this picture.
        caption: The caption; None without one.
        error, detail: Why there is none.
        attempts: Questions and answers in order, with what the checks say.
    """

    name: str
    prompt: str
    model: str
    asked: bool
    caption: str | None
    error: str
    detail: str
    attempts: Sequence[Any]


@dataclass(frozen=True)
class Tried:
    """A picture, and what each variant made of it."""

    shard: int
    row: int
    id: str
    variants: Sequence[TriedVariant]


def write_tried_page(
    corpus: Corpus,
    page: Path,
    facts: Mapping[str, str],
    tried: Sequence[Tried],
    made_at: datetime | None = None,
) -> None:
    """Writes the page.

    Args:
        corpus: The corpus.
        page: The file.
        facts: Corpus, model and engine, for the heading.
        tried: The pictures.
        made_at: The time that the page names; now, by default.
    """
    tables = queries.Tables(corpus, {"records": corpus.records.config_hash})
    records = queries.records(tables, ((one.shard, one.row) for one in tried))
    values = {
        **facts,
        "made_at": (made_at or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M %Z").strip(),
        "versions": versions({}),
        "tried": tried,
        "records": records,
        "pictures": thumbnails(corpus.store, records.values(), SIDE),
        "sums": _sums(tried),
        "shown": lambda text: visible(text, keep="\n"),
    }
    html = environment().get_template("tried.html.j2").render(values)
    page.write_bytes(html.encode("utf-8", "replace"))


def _sums(tried: Sequence[Tried]) -> list[dict[str, Any]]:
    """Of each variant: captions, failures, attempts, words, and how many a run would make."""
    found: dict[str, dict[str, Any]] = {}
    for one in tried:
        for variant in one.variants:
            mine = found.setdefault(
                variant.name,
                {"name": variant.name, "prompt": variant.prompt, "model": variant.model}
                | {"words": [], "refused": {}}
                | dict.fromkeys(("captions", "attempts", "asked"), 0),
            )
            mine["asked"] += variant.asked
            mine["attempts"] += len(variant.attempts)
            for attempt in variant.attempts:
                if attempt.fault:
                    mine["refused"][attempt.fault] = mine["refused"].get(attempt.fault, 0) + 1
            if variant.caption is not None:
                mine["captions"] += 1
                mine["words"].append(len(variant.caption.split()))
    return list(found.values())
