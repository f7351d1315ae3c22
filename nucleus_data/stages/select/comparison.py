"""What differs between two selections: counts and examples, which add up, and their JSON."""

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
    """What differs between two selections.

    Attributes:
        states: (state before, state after) -> records, the unchanged among them; `absent` is a
            record that a selection says nothing about.
        otherwise: Records in the same state for other reasons, or for another survivor.
        groups: (`leaving` or `entering`, state that is not kept, reason) -> records.
        sources: Source -> what changes there: `records`, `kept_before`, `kept_after`, `leaving`,
            `entering`, `changed`.
        rules: Rule -> `newly` and `no_longer`: records that it rejects after and not before, and
            the other way round, whatever other rules do.
        flags: Rule that flags -> `newly` and `no_longer`.
        tiers: Quality tier ("" for none) -> `kept_before`, `kept_after`, `leaving`, `entering`.
        buckets: Curriculum bucket ("" for none) -> the same.
        examples: Group, also (`newly` or `no_longer`, `flag`, rule) -> some of its records, by a
            keyed hash: (hash, shard, row, decision). The decision, a row of the selection in which
            the record is not kept, or is flagged, says why.
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
        """Records that either selection says something about."""
        return self.states.total()

    @property
    def changed(self) -> int:
        """Records whose state changes."""
        return sum(n for (before, after), n in self.states.items() if before != after)

    def moved(self, direction: str) -> int:
        """Records that leave or enter the kept ones."""
        return sum(
            n
            for (before, after), n in self.states.items()
            if before != after and (before if direction == "leaving" else after) == KEPT
        )

    def add(self, other: "Comparison", examples: int) -> None:
        """Adds another shard's, of whose examples as many stay as are asked for."""
        self.states.update(other.states)
        self.otherwise += other.otherwise
        self.groups.update(other.groups)
        for kind in BY_NAME:
            mine = getattr(self, kind)
            for name, counts in getattr(other, kind).items():
                mine.setdefault(name, Counter()).update(counts)
        for group, some in other.examples.items():
            known = self.examples.get(group, [])
            self.examples[group] = first(examples, [*known, *some])

    def encode(self) -> bytes:
        """As JSON, for `decode`."""
        content = {
            name: [[key, value] for key, value in getattr(self, name).items()] for name in COUNTED
        }
        return json.dumps({**content, "otherwise": self.otherwise}).encode()

    @classmethod
    def decode(cls, text: bytes) -> "Comparison":
        """The comparison that `encode` wrote."""
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
    """The counts as JSON, each list in a fixed order, the largest numbers first."""

    def moves(direction: str) -> dict[str, Any]:
        mine = [(-n, *group[1:]) for group, n in found.groups.items() if group[0] == direction]
        reasons = [{"state": s, "reason": reason, "records": -n} for n, s, reason in sorted(mine)]
        return {"records": found.moved(direction), "reasons": reasons}

    def changes(counts: Mapping[str, Counter[str]]) -> list[dict[str, Any]]:
        lines = [
            {"rule": name, "newly": count["newly"], "no_longer": count["no_longer"]}
            for name, count in counts.items()
        ]
        return sorted(lines, key=lambda r: (-r["newly"] - r["no_longer"], r["rule"]))

    def marked(counts: Mapping[str, Counter[str]], key: str, names: Sequence[str]) -> Any:
        """Kept records by tier or bucket; nothing if none has one."""
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
