"""A run that only looks."""

from tests.support import curated

RULES = "select.rules={small: 'least(width, height) < 32'}"


def look(corpus):
    """A run that writes nothing, with the rules of the corpus that tests look at."""
    return curated.run(corpus.uri, "status", RULES, dry_run=True)
