"""Which sets are compared, in which order, with which seeds.

A case is data alone: a part, what is planted, and numbers. Its key has all of it, so that a line of
another size is another line.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nucleus_data.hashing import config_hash
from scripts.verdict.faults import KINDS

VERSION = 1  # of what a line says of equal fields
PARTS = ("aa", "share", "faults", "repeats")
HALVES, OTHER_IDS = "equal halves", "other ids"
SWAPPED = "swapped captions"
REPEATED = (SWAPPED, "blur", "duplicates")


@dataclass(frozen=True)
class Case:
    """A comparison.

    Attributes:
        part: One of `PARTS`.
        kind: A key of `KINDS`, `HALVES` or `OTHER_IDS`.
        dose: Of the kind; of other ids, the share that differs.
        repeat: Its number among comparisons that are alike: other pictures have the fault.
        preset: Of the runs.
        pool: Pictures of set A; of both halves together.
        pictures: Measured, and so many that were trained on.
        replicates: Runs of each set.
        seeds: The first replicate's seed.
    """

    part: str
    kind: str
    dose: float
    repeat: int
    preset: str
    pool: int
    pictures: int
    replicates: int
    seeds: int

    @property
    def key(self) -> str:
        """Its name in the lines."""
        digits = config_hash([VERSION, asdict(self)])[:8]
        return f"{self.part}/{self.kind}/{self.dose:g}/{self.repeat}@{digits}"

    def about(self) -> dict[str, Any]:
        """It, JSON-able."""
        return {"key": self.key, **asdict(self)}


@dataclass(frozen=True)
class Size:
    """How much a part does.

    Attributes:
        preset: Of its runs.
        pool: Pictures of set A; of both halves together.
        pictures: Measured, and so many that were trained on.
        replicates: Runs of each set.
        count: Comparisons of equal halves; repeats of the smallest dose of swapped captions.
    """

    preset: str
    pool: int
    pictures: int
    replicates: int = 6
    count: int = 0


GROUPS = 3  # of seeds, of which each repeat has one: set A's runs serve all faults of a group
SHARES = (0.0, 0.05, 0.2, 0.5, 1.0)
FULL = {
    "aa": Size("debug", 960, 48, count=120),
    "share": Size("debug", 960, 48, replicates=24),
    "faults": Size("nano", 1500, 160),
    "repeats": Size("nano", 1500, 160, count=10),
}
QUICK = {
    "aa": Size("debug", 200, 30, replicates=3, count=6),
    "share": Size("debug", 200, 30, replicates=3),
    "faults": Size("debug", 200, 30, replicates=3),
    "repeats": Size("debug", 200, 30, replicates=3, count=2),
}


def cases(parts: Sequence[str], sizes: dict[str, Size]) -> Iterator[Case]:
    """The comparisons of some parts, in the order in which they are done."""
    for part in parts:
        yield from _PARTS[part](sizes[part])


def _case(part: str, size: Size, kind: str, dose: float, repeat: int, group: int) -> Case:
    values = {k: v for k, v in asdict(size).items() if k != "count"}
    return Case(part, kind, dose, repeat, **values, seeds=group * size.replicates)


def _halves(size: Size) -> Iterator[Case]:
    # Seeds of its own for each: the same initial weights in all of them would make one chance of
    # sixty.
    for number in range(size.count):
        yield _case("aa", size, HALVES, 0.5, number, number)


def _shares(size: Size) -> Iterator[Case]:
    for share in SHARES:
        yield _case("share", size, OTHER_IDS, share, 0, 0)


def _faults(size: Size) -> Iterator[Case]:
    # The highest doses first: they tell soonest whether anything is seen at all.
    for place in (2, 1, 0):
        for kind in KINDS.values():
            yield _case("faults", size, kind.name, kind.doses[place], 0, 0)


def _repeats(size: Size) -> Iterator[Case]:
    for place in (2, 1, 0):
        for name in REPEATED:
            for repeat in range(1, GROUPS):
                yield _case("repeats", size, name, KINDS[name].doses[place], repeat, repeat)
    least = KINDS[SWAPPED].doses[0]
    for repeat in range(GROUPS, size.count):
        yield _case("repeats", size, SWAPPED, least, repeat, repeat % GROUPS)


_PARTS = {"aa": _halves, "share": _shares, "faults": _faults, "repeats": _repeats}
