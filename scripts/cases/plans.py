"""The cases: what is compared with what, on which yardstick, and what should come out.

| case | A | B | yardstick |
|---|---|---|---|
| `*-swapped` | captions as people wrote them | a share swapped | other pictures, as written |
| `*-colours` | two colours, read off the pixels | a share swapped | the same of other pictures |
| `*-short` | the same | cut to one word | the same |
| `world-alt-texts` | poor alt texts | true captions | another world, true captions, mixed |
| `world-curated` | all that can be read | what the recipe keeps | another world, clean |
| `world-recipe` | the same, alt texts | kept and captioned by the recipe | another world, mixed |
| `timing` | 2,000 pictures | a tenth of the captions swapped | another world |

The yardstick's pictures are in neither set, and none is a near copy of one that is: `dedup.against`
sees to it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nucleus_model.training.verdict.plan import Arm
from scripts.cases.colours import told_colours
from scripts.cases.making import CHOOSING, CONFIGS, Line, texts_of
from scripts.cases.pictures import fetched, halves, truth, world
from scripts.cases.texts import shortened, swapped

# Of the real pictures: some 160 are to be left of the yardstick, the rest is trained on.
YARDSTICK_SHARE = {"stamps": 0.24, "emoji": 0.14}
WORLD, OTHER_WORLD = 20, 21  # seeds
FULL_SIZE = (380, 660)  # of the pictures that rules look at
RAW = ("select.rules={}", "select.drop_duplicates=false")
# The demo's recipe but for its rule of taste: a faultless picture may be unpleasant.
CURATED = (
    "select.rules.unpleasant=null",
    "caption.engine=transformers",
    "caption.variants={short: {prompt: short, max_tokens: 96}}",
)
CURATING = ("dedup", "compare", "select", "embed", "score", "select")


@dataclass(frozen=True)
class Size:
    """How many pictures of a world: to train on, and of the yardstick."""

    pictures: int = 2000
    yardstick: int = 200


QUICK = Size(96, 24)


@dataclass(frozen=True)
class Sides:
    """What is compared."""

    a: Arm
    b: Arm
    yardstick: Arm


@dataclass(frozen=True)
class Case:
    """One comparison whose outcome is known.

    Attributes:
        word: What the verdict should say of B.
        about: What it should speak of; one of these.
        dose: How much is wrong, as a share; what of, `make` knows.
        make: Makes both sets and the yardstick, given the folder of all cases.
    """

    word: Literal["better", "worse"]
    about: tuple[str, ...]
    dose: float
    make: Callable[[Path, Size, float], Sides]

    def expected(self, content: Mapping[str, Any]) -> bool:
        """Whether a verdict says what it should."""
        sign = 1 if self.word == "better" else -1
        return content["word"] == self.word and any(
            found["direction"] == sign and found["measure"]["about"] in self.about
            for found in content["findings"]
        )


def _real(kind: str, out: Path, captions: str = "source") -> tuple[Line, Arm]:
    """The corpus of real pictures that is trained on, and the yardstick.

    Args:
        kind: `stamps` or `emoji`.
        out: The folder of all cases.
        captions: `source` as people wrote them, or `colours`.
    """
    training, yardstick = halves(fetched(kind, out), out / f"{kind}-split", YARDSTICK_SHARE[kind])
    line = Line(out / f"{kind}-corpus")
    line.run(*CHOOSING, source=training)
    other = _yardstick(out / f"{kind}-yardstick", yardstick, line)
    if captions == "colours":
        line.import_texts(captions, told_colours(training), by="key")
        other.import_texts(captions, told_colours(yardstick), by="key")
    return line, other.shard(captions, "yardstick")


def _yardstick(folder: Path, pictures: Path, line: Line, *overrides: str) -> Line:
    """A corpus of pictures that another one has no near copy of."""
    found = Line(folder, overrides=(f"dedup.against={{training: {line.folder}}}", *overrides))
    found.run(*CHOOSING, source=pictures)
    return found


def _worlds(out: Path, size: Size, length: str) -> tuple[Path, Line, Arm]:
    """A clean world's pictures, its corpus, and another one as the yardstick.

    Args:
        out: The folder of all cases.
        size: How many pictures.
        length: Of the yardstick's true captions.
    """
    pictures = world(out / f"world-{size.pictures}", size.pictures, WORLD)
    line = Line(out / f"world-{size.pictures}-corpus", overrides=("ingest.name=world",))
    line.run(*CHOOSING, source=pictures)
    line.import_texts("told", truth(pictures, "medium"), by="key")
    return pictures, line, _other_world(out, size, line, length)


def _other_world(out: Path, size: Size, line: Line, length: str) -> Arm:
    pictures = world(out / f"other-{size.yardstick}", size.yardstick, OTHER_WORLD)
    # Of another name: a record's id is a hash of its source's name and its key.
    folder = out / f"other-{size.yardstick}-{line.folder.name}"
    found = _yardstick(folder, pictures, line, "ingest.name=other")
    found.import_texts(length, truth(pictures, length), by="key")
    return found.shard(length, "yardstick")


def _swapped(line: Line, a: Arm, dose: float, of: str = "") -> Arm:
    name = f"{of}swapped_{round(100 * dose)}"
    line.import_texts(name, swapped(texts_of(a), dose))
    return line.shard(name)


def _with_swapped(kind: str, captions: str = "source") -> Callable[[Path, Size, float], Sides]:
    def make(out: Path, size: Size, dose: float) -> Sides:
        line, yardstick = _real(kind, out, captions)
        a = line.shard(captions)
        of = "" if captions == "source" else f"{captions}_"
        return Sides(a, _swapped(line, a, dose, of), yardstick)

    return make


def _with_short(kind: str) -> Callable[[Path, Size, float], Sides]:
    def make(out: Path, size: Size, dose: float) -> Sides:
        line, yardstick = _real(kind, out)
        a, name = line.shard("source"), f"short_{round(100 * dose)}"
        line.import_texts(name, shortened(texts_of(a), dose))
        return Sides(a, line.shard(name), yardstick)

    return make


def _alt_texts(out: Path, size: Size, dose: float) -> Sides:
    _, line, yardstick = _worlds(out, size, "mixed")
    return Sides(line.shard("source", "alt texts"), line.shard("told"), yardstick)


def _raw(out: Path, size: Size, dose: float) -> tuple[Path, Line, Line]:
    """A world with faults: its pictures, its corpus as it came, and the same with the recipe."""
    name = f"raw-{size.pictures}-{round(100 * dose)}"
    pictures = world(out / name, size.pictures, WORLD, dose, FULL_SIZE)
    overrides = ("ingest.name=raw",)
    raw = Line(out / f"{name}-corpus", overrides=(*overrides, *RAW))
    raw.run(*CHOOSING, source=pictures)
    return pictures, raw, Line(raw.folder, CONFIGS / "demo.yaml", (*overrides, *CURATED))


def _curated(out: Path, size: Size, dose: float) -> Sides:
    pictures, raw, curated = _raw(out, size, dose)
    # True captions in both, so that the sets differ by their pictures alone.
    raw.import_texts("told", truth(pictures, "medium"), by="key")
    a = raw.shard("told", "raw")
    curated.run(*CURATING)
    return Sides(a, curated.shard("told", "curated"), _other_world(out, size, raw, "medium"))


def _whole_recipe(out: Path, size: Size, dose: float) -> Sides:
    _, raw, curated = _raw(out, size, dose)
    a = raw.shard("source", "raw, alt texts")
    curated.run(*CURATING, "caption")
    b = curated.shard("short", "curated, captioned")
    return Sides(a, b, _other_world(out, size, raw, "mixed"))


def _timing(out: Path, size: Size, dose: float) -> Sides:
    _, line, yardstick = _worlds(out, size, "medium")
    a = line.shard("told")
    return Sides(a, _swapped(line, a, dose), yardstick)


CASES = {
    "stamps-swapped": Case("worse", ("captions",), 0.3, _with_swapped("stamps")),
    "stamps-short": Case("worse", ("captions",), 1.0, _with_short("stamps")),
    "emoji-swapped": Case("worse", ("captions",), 0.3, _with_swapped("emoji")),
    "emoji-short": Case("worse", ("captions",), 1.0, _with_short("emoji")),
    "stamps-colours": Case("worse", ("captions",), 0.3, _with_swapped("stamps", "colours")),
    "emoji-colours": Case("worse", ("captions",), 0.3, _with_swapped("emoji", "colours")),
    "world-alt-texts": Case("better", ("captions",), 1.0, _alt_texts),
    "world-curated": Case("better", ("pictures", "all"), 0.25, _curated),
    "world-recipe": Case("better", ("captions",), 0.25, _whole_recipe),
    "timing": Case("worse", ("captions",), 0.1, _timing),
}
