"""`nucleus captions diff`: compares two caption sets, in numbers and on a page."""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.caption_sets import SOURCE, CaptionSet, find_set
from nucleus_data.corpus.looking import going_without, without_lines
from nucleus_data.corpus.told import command as told
from nucleus_data.errors import RequestError
from nucleus_data.pages.captions_diff import render_captions
from nucleus_data.printed import counted
from nucleus_data.runner.run import Run
from nucleus_data.stages.shard.captions import caption_tables
from nucleus_data.views.caption_scores import similarity, text_vectors
from nucleus_data.views.caption_sums import SIDES, CaptionSums, length_figures

SHOWN_WORDS = 16
TOLD_WORDS = 8
SHOWN_WORD = 40  # characters
TOLD = ("model", "revision", "prompt")
PAGE, NUMBERS = "captions_diff.html", "captions_diff.json"


def diff(run: Run, first: str, second: str, page: Path | None, limit: int) -> dict[str, Any]:
    """Compares two caption sets.

    Args:
        run: The run; its pins determine the recipe's variants.
        first: Name of a caption set (`corpus.caption_sets`).
        second: Name of the other set.
        page: The file for the page; None for one in the run's folder.
        limit: Maximum number of pictures to show of each kind.

    Returns:
        The comparison, as it is stored in the run's folder.

    Raises:
        RequestError: A name refers to no set, both refer to the same, or a set has no captions.
    """
    current = caption_tables(run.pins)
    store = run.corpus.store
    one, other = (find_set(store, name, current, "captions diff") for name in (first, second))
    if (one.variant, one.config_hash) == (other.variant, other.config_hash):
        raise RequestError(f"{first!r} and {second!r} are the same captions: {one.name}")
    return going_without(
        run.corpus, lambda corpus: _compared(run, corpus, (one, other), page, limit)
    )


def _compared(
    run: Run,
    corpus: Corpus,
    sets: tuple[CaptionSet, CaptionSet],
    page: Path | None,
    limit: int,
) -> dict[str, Any]:
    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="nucleus-") as folder,
        CaptionSums(corpus, sets, Path(folder)) as sums,
    ):
        counts = sums.counts()
        for one, side in zip(sets, SIDES, strict=True):
            if not counts[side]:
                raise RequestError(
                    f"{one.name} has no captions in {corpus.uri}; see {_list(corpus)}"
                )
        lengths = sums.lengths()
        content: dict[str, Any] = {
            "run": run.name,
            "corpus": corpus.uri,
            **{s: _about(corpus, one) for one, s in zip(sets, SIDES, strict=True)},
            "counts": counts,
            "lengths": {side: length_figures(lengths[side]) for side in SIDES},
            "words": sums.words(SHOWN_WORDS),
            "overlap": sums.overlap(),
            "similarity": similarity(corpus, run.tables, sets, sums),
            "vectors": text_vectors(corpus, run.tables, sets, sums),
            "failures": sums.failures(),
            "examples": sums.examples(limit),
            "left_out": [error.content() for error in corpus.left_out],
        }
    content["seconds"] = round(time.perf_counter() - start, 3)
    html = render_captions(corpus, run.tables, content, lengths).encode("utf-8", "replace")
    if page is None:
        corpus.store.put(run.path(PAGE), html)
        content["page"] = corpus.store.url(run.path(PAGE))
    else:
        try:
            page.write_bytes(html)
        except OSError as error:
            raise RequestError(f"--page {page} can't be written: {error}") from error
        content["page"] = str(page)
    text = json.dumps(content, sort_keys=True, indent=1)
    corpus.store.put(run.path(NUMBERS), text.encode())
    return content


def _list(corpus: Corpus) -> str:
    return told("captions list", corpus.uri)


def _about(corpus: Corpus, one: CaptionSet) -> dict[str, Any]:
    """Returns a set's names, its table, and the model and prompt that made it."""
    about: dict[str, Any] = {
        "name": one.variant if one.plain else one.name,
        "set": one.name,
        "table": f"{one.table}/{one.config_hash}"
        if one.config_hash
        else f"records: {SOURCE}.caption",
        **dict.fromkeys(TOLD),
    }
    table = corpus.at(one.table, one.config_hash) if one.config_hash else None
    if table is not None and table.whole_parts():
        relation = corpus.rows(table)
        columns = [n if n in relation.columns else "NULL" for n in TOLD]
        (values,) = relation.aggregate(", ".join(f"min({c})" for c in columns)).fetchall()
        about |= dict(zip(TOLD, values, strict=True))
    return about


def lines(content: Mapping[str, Any]) -> Iterator[str]:
    """Yields the comparison as lines for people."""
    counts, lengths = content["counts"], content["lengths"]
    one, other = content["first"]["set"], content["second"]["set"]
    yield f"{one}: {counted(counts['first'], 'caption')}; {other}: {counts['second']:,}"
    yield (
        f"{counts['both']:,} records have both, {counts['only_first']:,} only {one}, "
        f"{counts['only_second']:,} only {other}"
    )
    if counts["both"]:
        share = 100 * counts["same"] / counts["both"]
        yield (
            f"same text: {counts['same']:,} ({share:.1f} %), same except for case and spaces: "
            f"{counts['same_but_case']:,}; words in common: {content['overlap']['mean']:.3f}"
        )
    first, second = lengths["first"], lengths["second"]
    yield (
        f"words per caption (5th to 95th percentile): {first['mean']:.1f} ({first['p5']} to "
        f"{first['p95']}) -> {second['mean']:.1f} ({second['p5']} to {second['p95']})"
    )
    for kind in ("gained", "lost"):
        found = content["words"][kind][:TOLD_WORDS]
        if found:
            shown = ", ".join(
                f"{_short(w['word'])} {w['before']:,} -> {w['after']:,}" for w in found
            )
            yield f"words {kind}: {shown}"
    yield from _similarity_lines(content)
    for side, name in zip(SIDES, (one, other), strict=True):
        failed = content["failures"][side]
        for kind, words in (("reasons", ""), ("retryable", ", temporarily")):
            if failed[kind]:
                shown = ", ".join(f"{n:,} {reason}" for reason, n in failed[kind].items())
                yield f"{name} without a caption{words}: {shown}"
        if failed["cut"]:
            yield f"{name} cut at the token limit: {failed['cut']:,}"
    yield from without_lines(content["left_out"])
    yield str(content["page"])


def _short(word: str) -> str:
    """Cuts a long word: in scripts without spaces, a whole sentence counts as a word."""
    return word if len(word) <= SHOWN_WORD else f"{word[: SHOWN_WORD - 1]}…"


def _similarity_lines(content: Mapping[str, Any]) -> Iterator[str]:
    found = content["similarity"]
    if "lacking" in found:
        names = ", ".join(found["lacking"])
        asked = [name for name in found["lacking"] if name != SOURCE]
        how = (
            f"; add {', '.join(asked)} to score_captions.variants"
            if asked
            else "; run: nucleus score"
        )
        yield f"similarity with the picture: not stored for {names}{how}"
    elif found["pairs"]:
        mean = found["mean"]
        yield (
            f"{found['kind']} with the picture: {mean['first']:.3f} -> {mean['second']:.3f}; "
            f"higher for {found['higher']:,} of {found['pairs']:,}, lower for {found['lower']:,}"
        )
    if vectors := content["vectors"]:
        mean, pairs = vectors["mean"], vectors["pairs"]
        yield f"cosine between the captions' vectors: {mean:.3f} ({counted(pairs, 'pair')})"
