"""The check `contradiction`: the text contradicts an upstream column in the question.

It only compares what can be compared without knowledge of the world:

- a year ("in 1925") that is in no column with years, nor within a range or decade of one
  ("1914-1918");
- a count ("two cats" where a column says three);
- a maker ("painted by NAME") if a column names another artist, author or photographer;
- a country if a column names another one;
- a name from a column with a letter or two wrong ("Lake Gadra" for Lake Garda).

The upstream caption does not count as a fact, since a refined caption may correct it. Limits: the
check reads English; it does not notice a wrong city, a different title or omissions; and it can't
tell a wrong year from a true year about something other than the columns ("a castle of 1386"),
except in phrases such as built, founded, born or restored.
"""

from typing import ClassVar

from nucleus_data.stages.caption.checks.check import Check, Said
from nucleus_data.stages.caption.checks.facts import counts, names, years


class Contradiction(Check):
    """A year, count or name that contradicts an upstream column in the question."""

    name: ClassVar[str] = "contradiction"
    rank: ClassVar[int] = 85

    def find(self, said: Said) -> str | None:
        """Compares years, then counts, then names."""
        facts = {k: v for k, v in said.facts.items() if v is not None and v != said.upstream}
        if not facts:
            return None
        return next(filter(None, (look(said.own, facts) for look in LOOKS)), None)


LOOKS = (years.contradicted, counts.contradicted, names.contradicted)
