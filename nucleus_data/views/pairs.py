"""`nucleus pairs`: duplicates side by side, some of each distance."""

from collections.abc import Iterator

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.looking import going_without, without_lines
from nucleus_data.pages.pairs import EXACT, by_distance, write_pairs_page
from nucleus_data.pages.queries import Tables
from nucleus_data.runner.run import Run
from nucleus_data.stages.dedup.stage import TABLE, Dedup, published_counts


def show_pairs(run: Run, dedup: Dedup, each: int) -> Iterator[str]:
    """Writes a page of duplicate pairs, some of each distance, and says how many there are.

    Args:
        run: The run.
        dedup: The stage whose pairs they are.
        each: How many pairs of a distance are shown.

    Raises:
        RequestError: `dedup` was not run since the tables changed.
    """
    table = dedup.found(run, "the page")[TABLE]
    counts = published_counts(run.corpus, table)
    assert counts is not None, "found() says so"

    def lines(corpus: Corpus) -> Iterator[str]:
        distances = by_distance(Tables(corpus, {TABLE: table}), each)
        yield f"{counts['pairs']:,} pairs among {counts['records']:,} records"
        for found in distances:
            name = found.name if found.name == EXACT else f"distance {found.name}"
            yield f"  {name:<12} {found.count:>12,}"
        url = write_pairs_page(
            corpus, run.path("pairs.html"), run.name, {TABLE: table}, counts, distances
        )
        yield from without_lines([error.content() for error in corpus.left_out])
        yield url

    yield from going_without(run.corpus, lambda corpus: list(lines(corpus)))
