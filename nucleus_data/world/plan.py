"""What a world holds: for each picture its scene, size, format, and what is wrong with it.

A plan is a function of its settings, and a picture a function of its line in the plan, so that any
number of processes paints the same bytes. About one picture in five is faulty by default; faults
and strengths take turns, so that each is there equally often.

The last number of a generator's seed names what is drawn: 0 and 1 the scene of each level, 1 its
texture too, 3 clutter, 4 the filed caption, 5 ratings, 6 the line in the plan, 7 which pictures are
faulty, 8 the fault.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nucleus_data.world import alterations, files
from nucleus_data.world.scenes import LEVELS, Level

NONE = "none"
STRENGTHS = ("low", "middle", "high")
# Faults of the caption; the picture is clean.
CAPTION_FAULTS = ("wrong_caption", "empty_caption")
OWN_FAULTS = (*alterations.FAULTS, *files.FILES, *CAPTION_FAULTS)
EXACT = "exact_copy"
COPY_FAULTS = (EXACT, *alterations.COPIES)
FAULTS = (*OWN_FAULTS, *COPY_FAULTS)
FOLDERS = ("", "park", "studio", "studio/late")
RATIOS = (1.0, 4 / 3, 3 / 2, 16 / 9, 2.0)
FORMATS = {"JPEG": 0.62, "PNG": 0.18, "WEBP": 0.2}
COPY_QUALITY = {"reencoded": (80, 60, 35), "mirrored": (92, 75, 50)}


@dataclass(frozen=True)
class WorldSettings:
    """What decides every byte of a world.

    Attributes:
        images: Pictures in all.
        seed: 0 or more; worlds of two seeds share no scene.
        level: `core` or `full`.
        fault_share: Share of pictures with something wrong, 0 to 0.9.
        faults: Which faults are planted, in turns.
        strengths: Which strengths, in turns; numbers into `STRENGTHS`.
        long_side: Shortest and longest long side of a picture, in pixels. The default gives 0.2
            megapixels on average.
    """

    images: int
    seed: int = 0
    level: Level = "core"
    fault_share: float = 0.2
    faults: tuple[str, ...] = FAULTS
    strengths: tuple[int, ...] = (0, 1, 2)
    long_side: tuple[int, int] = (380, 660)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.faults) - set(FAULTS))
        if unknown:
            raise ValueError(f"unknown faults {', '.join(unknown)}; known: {', '.join(FAULTS)}")
        if self.level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {self.level!r}")
        if not 0 <= self.fault_share <= 0.9:
            raise ValueError(f"fault_share must be 0 to 0.9, got {self.fault_share}")
        if self.seed < 0 or self.images < 1:
            raise ValueError(
                f"seed must be >= 0 and images >= 1, got {self.seed} and {self.images}"
            )


@dataclass(frozen=True)
class Planned:
    """One picture of a world.

    Attributes:
        index: Its number, also that of its scene unless it is a copy.
        fault: `none` or one of `FAULTS`.
        strength: Number into `STRENGTHS`; 0 for clean pictures.
        original: Number of the picture that it is a copy of, or -1.
        scene: Number of the scene that it shows.
        width: Pixels of the painted scene, before a fault changes it.
        height: Pixels of the painted scene, before a fault changes it.
        format: The clean file's; a key of `files.SUFFIX`.
        quality: The clean file's, 1 to 100; PNG takes none.
        folder: Where it lies, with forward slashes.
    """

    index: int
    fault: str
    strength: int
    original: int
    scene: int
    width: int
    height: int
    format: str
    quality: int
    folder: str

    @property
    def file(self) -> str:
        """Path below the pictures' folder."""
        suffix = files.SUFFIXES.get(self.fault)
        if suffix is None:
            own = self.fault not in files.FILES
            suffix = files.SUFFIX[self.format] if own else ".jpg"
        return f"{self.folder}/{self.index:07d}{suffix}".lstrip("/")


class WorldPlan:
    """The plan of one world; lines are drawn when they are asked for.

    Args:
        settings: The world.

    Raises:
        ValueError: Copies are asked for, and no clean picture is left to copy.
    """

    def __init__(self, settings: WorldSettings) -> None:
        self.settings = settings
        rng = np.random.default_rng([settings.seed, LEVELS.index(settings.level), 7])
        turns = list(_turns(settings))
        faulty = round(settings.images * settings.fault_share) if turns else 0
        # The number of the turn at each place, or -1; chains need their start planted as well.
        self._turn = np.full(settings.images, -1, dtype=np.int32)
        places = rng.permutation(settings.images)[:faulty]
        self._turn[places] = np.arange(faulty) % max(1, len(turns))
        self._clean = np.flatnonzero(self._turn < 0)
        self._turns = turns
        if not len(self._clean):
            raise ValueError(f"none of {settings.images} pictures is left without a fault to copy")
        self._starts = [
            place
            for place in np.flatnonzero(self._turn >= 0)
            if self._fault(place) == "chain_start"
        ]

    def _fault(self, index: int) -> str:
        return self._turns[self._turn[index]][0]

    def __len__(self) -> int:
        return self.settings.images

    def __getitem__(self, index: int) -> Planned:
        """One line, a function of settings and index."""
        settings = self.settings
        rng = np.random.default_rng([settings.seed, LEVELS.index(settings.level), index, 6])
        long = int(rng.integers(settings.long_side[0], settings.long_side[1] + 1))
        short = round(long / RATIOS[int(rng.integers(len(RATIOS)))])
        width, height = (long, short) if rng.random() < 0.6 else (short, long)
        form = str(rng.choice(list(FORMATS), p=list(FORMATS.values())))
        quality = int(rng.integers(75, 96))
        folder = FOLDERS[int(rng.integers(len(FOLDERS)))]
        fault, strength = (NONE, 0) if self._turn[index] < 0 else self._turns[self._turn[index]]
        original = -1
        shown, drawn = index, int(self._clean[int(rng.integers(len(self._clean)))])
        # Without a planted start, a chain's second link is a copy of a clean picture.
        if fault == "chain" and self._starts:
            # As strong as its start: the link is that start, drifted once more.
            start = self[int(self._starts[int(rng.integers(len(self._starts)))])]
            original, shown, strength = start.index, start.scene, start.strength
            width, height = start.width, start.height
        elif fault in COPY_FAULTS:
            source = self[drawn]
            original, shown = drawn, drawn
            width, height = source.width, source.height
            if fault == EXACT:  # the truth says of both the same
                form, quality = source.format, source.quality
            else:
                form = "JPEG"
                quality = COPY_QUALITY.get(fault, (90, 88, 85))[strength]
        return Planned(
            index, fault, strength, original, shown, width, height, form, quality, folder
        )

    def __iter__(self) -> Iterator[Planned]:
        """All lines, in order."""
        return (self[index] for index in range(len(self)))


def _turns(settings: WorldSettings) -> Iterator[tuple[str, int]]:
    """Each fault at one strength, then each at the next."""
    for strength in settings.strengths:
        for fault in settings.faults:
            yield fault, strength
