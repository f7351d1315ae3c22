"""The difference between two selections: counts and examples, which add up, and their JSON."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nucleus_data.corpus.states import KEPT, STATES
from nucleus_data.stages.select.examples import Example, Group, first

ABSENT = "absent"
SIDES = (*STATES, ABSENT)  # the states that a record may have on a side of the comparison


@dataclass
class Comparison:
    """The difference between two selections.

    Attributes:
        states: (state before, state after) -> number of records, including unchanged ones. The
            state is `absent` if a selection lacks the record.
        otherwise: Number of records in the same state for other reasons, or with another survivor.
        groups: (`leaving` or `entering`, the state that is not kept, reason) -> number of records.
        sources: Source -> numbers of its records: `records`, `kept_before`, `kept_after`,
            `leaving`, `entering`, `changed`.
        rules: Rule -> `newly`, the number of records that it rejects only after, and `no_longer`,
            the number that it rejects only before, whatever other rules do.
        flags: Flagging rule -> `newly` and `no_longer`.
        tiers: Quality tier ("" for none) -> `kept_before`, `kept_after`, `leaving`, `entering`.
        buckets: Curriculum bucket ("" for none) -> the same counts as for tiers.
        examples: Group, or (`newly` or `no_longer`, `flag`, rule) -> some of its records, chosen by
            a keyed hash: (hash, shard, row, decision). The decision is the record's row in the
            selection in which it is not kept, or is flagged, and so explains the change.
    """

    states: Counter[tuple[str, str]] = field(default_factory=Counter)
    otherwise: int = 0
    groups: Counter[Group] = field(default_factory=Counter)
    sources: dict[str, Counter[str]] = field(default_factory=dict)
    rules: dict[str, Counter[str]] = field(default_factory=dict)
    flags: dict[str, Counter[str]] = field(default_factory=dict)
    tiers: dict[str, Counter[str]] = field(default_factory=dict)
    buckets: dict[str, Counter[str]] = field(default_factory=dict)
    examples: dict[Group, list[Example]] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """Number of records that either selection has."""
        return self.states.total()

    @property
    def changed(self) -> int:
        """Number of records whose state changes."""
        return sum(n for (before, after), n in self.states.items() if before != after)

    def moved(self, direction: str) -> int:
        """Returns how many records become kept ("entering") or cease to be kept ("leaving")."""
        return sum(
            n
            for (before, after), n in self.states.items()
            if before != after and (before if direction == "leaving" else after) == KEPT
        )

    def add(self, other: "Comparison", examples: int) -> None:
        """Adds the comparison of other shards; at most `examples` examples of each group remain."""
        self.states.update(other.states)
        self.otherwise += other.otherwise
        self.groups.update(other.groups)
        for kind in BY_NAME:
            totals = getattr(self, kind)
            for name, counts in getattr(other, kind).items():
                totals.setdefault(name, Counter()).update(counts)
        for group, some in other.examples.items():
            known = self.examples.get(group, [])
            self.examples[group] = first(examples, [*known, *some])

    def encode(self) -> bytes:
        """Encodes the comparison as JSON, for `decode`."""
        content = {
            name: [[key, value] for key, value in getattr(self, name).items()] for name in COUNTED
        }
        return json.dumps({**content, "otherwise": self.otherwise}).encode()

    @classmethod
    def decode(cls, text: bytes) -> "Comparison":
        """Decodes what `encode` encoded."""
        content = json.loads(text)
        pairs = {name: [(k, v) for k, v in content[name]] for name in COUNTED}
        named = {name: {k: Counter(v) for k, v in pairs[name]} for name in BY_NAME}
        return cls(
            states=Counter({(a, b): n for (a, b), n in pairs["states"]}),
            otherwise=content["otherwise"],
            groups=Counter({(a, b, c): n for (a, b, c), n in pairs["groups"]}),
            examples={
                (a, b, c): [(w, x, y, z) for w, x, y, z in v] for (a, b, c), v in pairs["examples"]
            },
            **named,
        )


BY_NAME = ("sources", "rules", "flags", "tiers", "buckets")
COUNTED = ("states", "groups", *BY_NAME, "examples")


def content_of(found: Comparison) -> dict[str, Any]:
    """Returns the counts as JSON; all lists have a fixed order, reasons and rules by count."""

    def moves(direction: str) -> dict[str, Any]:
        lines = [(-n, *group[1:]) for group, n in found.groups.items() if group[0] == direction]
        reasons = [{"state": s, "reason": reason, "records": -n} for n, s, reason in sorted(lines)]
        return {"records": found.moved(direction), "reasons": reasons}

    def changes(counts: Mapping[str, Counter[str]]) -> list[dict[str, Any]]:
        lines = [
            {"rule": name, "newly": count["newly"], "no_longer": count["no_longer"]}
            for name, count in counts.items()
        ]
        return sorted(lines, key=lambda r: (-r["newly"] - r["no_longer"], r["rule"]))

    def marked(counts: Mapping[str, Counter[str]], key: str, names: Sequence[str]) -> Any:
        """Returns the numbers of kept records by tier or bucket; empty if no record has one."""
        lines = [{key: name, **{c: counts[name][c] for c in columns[1:5]}} for name in names]
        return lines if any(counts) else []

    order = {state: i for i, state in enumerate(SIDES)}
    columns = ("records", "kept_before", "kept_after", "leaving", "entering", "changed")
    return {
        "records": found.records,
        "changed": found.changed,
        "otherwise": found.otherwise,
        "states": [
            {"before": before, "after": after, "records": count}
            for (before, after), count in sorted(
                found.states.items(), key=lambda item: [order[s] for s in item[0]]
            )
        ],
        "leaving": moves("leaving"),
        "entering": moves("entering"),
        "sources": [
            {"source": name, **{column: count[column] for column in columns}}
            for name, count in sorted(found.sources.items())
        ],
        "tiers": marked(found.tiers, "tier", sorted(found.tiers, reverse=True)),
        "buckets": marked(
            found.buckets, "bucket", sorted(found.buckets, key=lambda n: (not n, len(n), n))
        ),
        "rules": changes(found.rules),
        "flags": changes(found.flags),
    }
