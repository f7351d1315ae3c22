"""Facts about the two sets that are counted, not measured; the sentence states them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nucleus_data.printed import counted
from nucleus_model.training.verdict.sentence import figure

# From this difference of shares on, copies are stated.
LEAST = 0.01


@dataclass(frozen=True)
class Copies:
    """Pictures of a set that repeat another one of it.

    Attributes:
        pictures: Number of pictures that show what an earlier one of the set shows.
        of: Number of pictures of the set.
    """

    pictures: int
    of: int

    @property
    def share(self) -> float:
        """Their share, 0 to 1."""
        return self.pictures / self.of if self.of else 0.0


def unread(folders: Sequence[Path]) -> dict[str, str]:
    """Returns id -> reason of the training pictures that an arm's runs could not read."""
    found: dict[str, str] = {}
    for folder in folders:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        found |= summary["failures"]
    return dict(sorted(found.items()))


def stated(copies: Mapping[str, Copies], lost: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Returns clauses for the sentence.

    Args:
        copies: Arm (`a`, `b`) -> copies in its set.
        lost: Arm -> its pictures that could not be read, from `unread`.
    """
    clauses = [
        f"{counted(len(of), 'picture')} of {arm.upper()} could not be read"
        for arm, of in lost.items()
        if of
    ]
    more, less = sorted("ab", key=lambda arm: -copies[arm].share)
    if copies[more].share - copies[less].share >= LEAST:
        many, few = (figure(100 * copies[arm].share) for arm in (more, less))
        rest = (
            f"{few} % of {less.upper()}'s" if copies[less].pictures else f"none of {less.upper()}'s"
        )
        clauses.append(f"{many} % of {more.upper()}'s pictures are copies of others in it ({rest})")
    return clauses
