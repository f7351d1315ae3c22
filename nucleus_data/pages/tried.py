"""The page of trial captions: pictures with the prompts and answers of every variant."""

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

SIDE = 480  # longest side of a picture, in pixels


@dataclass(frozen=True)
class TriedVariant:
    """The result of a variant for a picture.

    Attributes:
        name: The variant.
        prompt: The prompt's name.
        model: The model, if there are several.
        asked: Whether a run would make this variant for this picture.
        caption: The caption; None if there is none.
        error, detail: Why there is none: reason code and details.
        attempts: Prompts and answers in order, with the results of the checks.
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
    """A picture, and the result of each variant."""

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
        page: The file to write.
        facts: Corpus, model and engine, for the heading.
        tried: The pictures.
        made_at: The time that is shown on the page; by default now.
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
    """Sums up each variant: captions, failures, attempts, words, and how many a run would make."""
    by_variant: dict[str, dict[str, Any]] = {}
    for picture in tried:
        for variant in picture.variants:
            sums = by_variant.setdefault(
                variant.name,
                {"name": variant.name, "prompt": variant.prompt, "model": variant.model}
                | {"words": [], "refused": {}}
                | dict.fromkeys(("captions", "attempts", "asked"), 0),
            )
            sums["asked"] += variant.asked
            sums["attempts"] += len(variant.attempts)
            for attempt in variant.attempts:
                if attempt.fault:
                    sums["refused"][attempt.fault] = sums["refused"].get(attempt.fault, 0) + 1
            if variant.caption is not None:
                sums["captions"] += 1
                sums["words"].append(len(variant.caption.split()))
    return list(by_variant.values())
