"""What a card tells of a set beside its own files: where it comes from, and how it was chosen.

The stage `shard` knows it and writes it as `card.json` into the set; a card, and an export, that is
made later, or elsewhere, reads it there.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from nucleus_data.corpus.damaged import read_json
from nucleus_data.sets.layout import SetFolder

FACTS = "card.json"
MOST_VALUES = 50  # of sources or licences that a card lists
OTHERS = "(others)"


@dataclass(frozen=True)
class Rule:
    """A rule of the selection.

    Attributes:
        name: Its name.
        where: Its condition in SQL: the threshold.
        action: `reject` or `flag`.
        reason: In words; empty where there are none.
        records: How many it rejected or flagged; None where nobody counted.
    """

    name: str
    where: str
    action: str = "reject"
    reason: str = ""
    records: int | None = None


@dataclass(frozen=True)
class Checked:
    """What the checks found in a caption table.

    Attributes:
        captions: The table, as `short@1a2b3c4d`.
        given: Captions that it has.
        again: Those of them that took more than one attempt.
        without: Pictures that were asked about and have none.
        found: Check -> captions that failed it, mended or not.
    """

    captions: str
    given: int
    again: int
    without: int
    found: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """What is told of a set.

    Attributes:
        selection: Config hash of the selection; empty where it is not known.
        states: State -> records of the corpus.
        rules: In their order.
        duplicates: Whether of duplicates one is kept; None where it is not known.
        settings: Those of `shard`.
        sources: Name of a source -> samples, over all resolutions.
        licences: Licence as stated upstream, empty for none -> samples, likewise.
        left_out: Resolution -> reason -> records.
        checked: What the checks found, a caption table each.
    """

    selection: str = ""
    states: Mapping[str, int] = field(default_factory=dict)
    rules: Sequence[Rule] = ()
    duplicates: bool | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)
    licences: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    checked: Sequence[Checked] = ()

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode()

    @classmethod
    def decode(cls, content: Mapping[str, Any]) -> "Facts":
        """The inverse of `encode`, of parsed JSON; what a later version added is left out."""
        known = {f.name: content[f.name] for f in fields(cls) if f.name in content}
        known["rules"] = tuple(_known(Rule, rule) for rule in known.get("rules", ()))
        known["checked"] = tuple(_known(Checked, one) for one in known.get("checked", ()))
        return cls(**known)


def _known(kind: Any, content: Mapping[str, Any]) -> Any:
    return kind(**{f.name: content[f.name] for f in fields(kind) if f.name in content})


def most(counts: Mapping[str, int], limit: int = MOST_VALUES) -> dict[str, int]:
    """The values that most samples have, and how many have one of the others."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    found = Counter(dict(ordered[:limit]))
    if rest := sum(count for _, count in ordered[limit:]):
        found[OTHERS] += rest
    return dict(found)


def read_facts(folder: SetFolder) -> Facts:
    """What a set's `card.json` tells; nothing where there is none."""
    try:
        return Facts.decode(read_json(folder.store, folder.name(FACTS)))
    except FileNotFoundError:
        return Facts()
