"""The check `contradiction`: the text says otherwise than the upstream columns in the question.

It compares only what can be compared without knowledge of the world, and is silent else:

- a year ("in 1925") that no column with years has, nor a range or decade of one ("1914-1918");
- how many of a thing there are ("two cats" where a column says three);
- who made it ("painted by NAME") where a column names the artist, author or photographer;
- a country where a column names another one;
- a name of a column with a letter or two wrong ("Lake Gadra" where it is Garda).

The upstream caption is no fact: a refined caption may correct it. Limits: English words; a city in
place of another, a different title, and what is left out are not seen; a true year of something
else than the columns are about ("a castle of 1386") is not told from a wrong one, but for what was
built, founded, born or restored.
"""

from typing import ClassVar

from nucleus_data.stages.caption.checks.check import Check, Said
from nucleus_data.stages.caption.checks.facts import counts, names, years


class Contradiction(Check):
    """A year, number or name that an upstream column in the question contradicts."""

    name: ClassVar[str] = "contradiction"
    rank: ClassVar[int] = 85

    def find(self, said: Said) -> str | None:
        """Compares years, then counts, then names."""
        facts = {k: v for k, v in said.facts.items() if v is not None and v != said.upstream}
        if not facts:
            return None
        return next(filter(None, (look(said.own, facts) for look in LOOKS)), None)


LOOKS = (years.contradicted, counts.contradicted, names.contradicted)
