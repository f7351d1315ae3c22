"""Facts on a set's card that its own files lack: where it comes from, and how it was selected.

The stage `shard` knows them, and writes them to `card.json` in the set. Cards and exports that are
made later, or elsewhere, read them from there.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from nucleus_data.corpus.damaged import read_json
from nucleus_data.sets.layout import SetFolder

FACTS = "card.json"
MOST_VALUES = 50  # how many sources or licences a card lists
OTHERS = "(others)"


@dataclass(frozen=True)
class Rule:
    """A rule of the selection.

    Attributes:
        name: Its name.
        where: Its condition in SQL, with the threshold.
        action: `reject` or `flag`.
        reason: Its reason in words; may be empty.
        records: How many records it rejected or flagged; None if they were not counted.
    """

    name: str
    where: str
    action: str = "reject"
    reason: str = ""
    records: int | None = None


@dataclass(frozen=True)
class Checked:
    """Results of the caption checks on a caption table.

    Attributes:
        captions: The table, for example `short@1a2b3c4d`.
        given: Number of captions in the table.
        again: How many of them took more than one attempt.
        without: Number of pictures that the model was asked about and that have no caption.
        found: Check -> number of captions that failed it, whether they were corrected or not.
    """

    captions: str
    given: int
    again: int
    without: int
    found: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """The content of a set's `card.json`.

    Attributes:
        selection: Config hash of the selection; empty if unknown.
        states: State -> number of records of the corpus.
        rules: The rules of the selection, in their order.
        duplicates: Whether only one of several duplicates is kept; None if unknown.
        settings: The settings of `shard`.
        sources: Name of a source -> number of samples, over all resolutions.
        licences: Licence as stated upstream (empty for none) -> number of samples, over all
            resolutions.
        left_out: Resolution -> reason -> number of records.
        checked: Results of the caption checks, one per caption table.
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
        """Encodes the facts as JSON."""
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode()

    @classmethod
    def decode(cls, content: Mapping[str, Any]) -> "Facts":
        """Makes facts from the parsed JSON of `encode`; fields of later versions are ignored."""
        known = {f.name: content[f.name] for f in fields(cls) if f.name in content}
        known["rules"] = tuple(_known(Rule, rule) for rule in known.get("rules", ()))
        known["checked"] = tuple(_known(Checked, one) for one in known.get("checked", ()))
        return cls(**known)


def _known(kind: Any, content: Mapping[str, Any]) -> Any:
    return kind(**{f.name: content[f.name] for f in fields(kind) if f.name in content})


def most(counts: Mapping[str, int], limit: int = MOST_VALUES) -> dict[str, int]:
    """Returns the `limit` largest counts, and the sum of the others under `OTHERS`."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    largest = Counter(dict(ordered[:limit]))
    if rest := sum(count for _, count in ordered[limit:]):
        largest[OTHERS] += rest
    return dict(largest)


def read_facts(folder: SetFolder) -> Facts:
    """Reads a set's `card.json`; without one, all facts are empty."""
    try:
        return Facts.decode(read_json(folder.store, folder.name(FACTS)))
    except FileNotFoundError:
        return Facts()
