"""Scores captions against the scene that they should tell.

How the facts are counted:

- A *fact* is one attribute of one thing: an object's kind, colour, size, texture or place, how two
  objects lie to each other, the number of shapes, the background, its ground and light, the style,
  the word and where it is. `asked_facts` lists those that a caption of some length has to tell.
- Told objects are matched to true ones, so that one wrong colour is one wrong fact and not a
  missing object and an invented one. A pair needs the same kind or the same colour.
- A told object without a match is *invented*. Its attributes are in no count of facts: an invention
  is counted once, as such. "Blue hexagon" has a wrong kind if it matches a blue shape, else it is
  invented.
- Silence is right where the grammar is silent: plain shapes and grounds, no word, and in `medium` a
  flat style are not asked for. Telling otherwise of them is a wrong fact.
"""

from collections import Counter
from dataclasses import dataclass, fields
from itertools import product
from typing import NamedTuple

from nucleus_data.world.reading import ATTRIBUTES, ReadObject, either, read_caption, refers
from nucleus_data.world.scenes import Scene, Shape
from nucleus_data.world.words import LEFT_OF, LENGTHS, relations


class Fact(NamedTuple):
    """What a fact is about: nothing (the scene), one true object, or two; and the attribute.

    Objects are numbers into `Scene.shapes`. The attributes of a pair are `across` (the first is
    to the `left` or `right` of the second) and `down` (`above` or `below`).
    """

    about: tuple[int, ...]
    attribute: str


def asked_facts(scene: Scene, length: str) -> dict[Fact, str]:
    """The facts that a caption of some length has to tell.

    Args:
        scene: The truth.
        length: One of `words.LENGTHS`.

    Returns:
        Each fact with its true value.

    Raises:
        ValueError: There is no such length.
    """
    if length not in LENGTHS:
        raise ValueError(f"length must be one of {', '.join(LENGTHS)}, got {length!r}")
    objects = ["kind", "color"]
    if length != "very_short":
        objects += ["size", "texture"]
    if length in ("medium", "long"):
        objects.append("place")
    asked = [Fact((i,), name) for i in range(len(scene.shapes)) for name in objects]
    if length != "very_short":
        asked.append(Fact((), "background"))
    if length in ("tags", "medium", "long"):
        asked += [Fact((), name) for name in ("ground", "light", "style", "word")]
    if length in ("medium", "long"):
        asked.append(Fact((), "word_place"))
    if length in ("tags", "long"):
        asked.append(Fact((), "count"))
    if length == "long":
        for i, (_, relation, _) in enumerate(relations(scene)):
            asked.append(Fact((i, i + 1), "across" if relation == LEFT_OF else "down"))
    truth = {fact: _truth(scene, fact) for fact in asked}
    silent = {"texture": "plain", "ground": "plain", "light": "none", "word": "", "word_place": ""}
    if length == "medium":
        silent["style"] = "flat"
    return {fact: value for fact, value in truth.items() if silent.get(fact.attribute) != value}


def _truth(scene: Scene, fact: Fact) -> str:
    shapes = [scene.shapes[i] for i in fact.about]
    match fact.attribute:
        case "across":
            return _sign(shapes[1].column - shapes[0].column, "left", "right")
        case "down":
            return _sign(shapes[1].row - shapes[0].row, "above", "below")
        case "count":
            return str(len(scene.shapes))
        case "word_place":
            return scene.word_place if scene.word else ""
        case name:
            return str(getattr(shapes[0] if shapes else scene, name))


def _sign(difference: int, positive: str, negative: str) -> str:
    return positive if difference > 0 else negative if difference < 0 else ""


@dataclass(frozen=True)
class _Told:
    """What a caption tells of a known scene.

    Attributes:
        facts: Each fact told of true things, with the value told.
        lost: Relations told of something that is not there.
        invented: Objects without a match.
        missing: How many true objects no told one matches.
        objects: How many objects are told.
    """

    facts: dict[Fact, str]
    lost: Counter[tuple[ReadObject, str, ReadObject]]
    invented: Counter[ReadObject]
    missing: int
    objects: int

    def right(self, scene: Scene, fact: Fact) -> bool:
        return fact in self.facts and self.facts[fact] == _truth(scene, fact)


def _told(text: str, scene: Scene) -> _Told:
    read = read_caption(text)
    matches = match_objects(read.objects, scene.shapes)
    facts: dict[Fact, str] = {}
    for number, true in matches.items():
        for name in ATTRIBUTES:
            value = getattr(read.objects[number], name)
            if value is not None:
                facts[Fact((true,), name)] = value
    for name in ("count", "background", "ground", "light", "style", "word", "word_place"):
        value = getattr(read, name)
        if value is not None:
            facts[Fact((), name)] = value
    lost: Counter[tuple[ReadObject, str, ReadObject]] = Counter()
    for one, relation, other in read.relations:
        a, b = (_referent(end, read.objects, matches, scene) for end in (one, other))
        if a is None or b is None or a == b:  # of what is not there, or of a thing to itself
            lost[one, relation, other] += 1
            continue
        ways = ("left", "right") if relation == LEFT_OF else ("above", "below")
        fact = Fact((min(a, b), max(a, b)), "across" if relation == LEFT_OF else "down")
        # Told both ways round, it becomes "left or right", which is never true.
        facts[fact] = either((facts.get(fact), ways[a > b])) or ""
    # By colour and kind alone: with another size or place it is still the same invention.
    invented = Counter(
        ReadObject(one.kind, one.color) for i, one in enumerate(read.objects) if i not in matches
    )
    missing = len(scene.shapes) - len(matches)
    return _Told(facts, lost, invented, missing, len(read.objects))


def match_objects(told: tuple[ReadObject, ...], true: tuple[Shape, ...]) -> dict[int, int]:
    """Matches told objects to true ones: the assignment with the most equal attributes.

    Args:
        told: Any number.
        true: At most five.

    Returns:
        The number of the true object for each told one that has a match. A pair has the same kind
        or the same colour. Among equally good assignments more pairs win, then the caption's order.
    """

    def equal(one: ReadObject, shape: Shape) -> int:
        if one.kind != shape.kind and one.color != shape.color:
            return 0
        return sum(getattr(one, name) == getattr(shape, name) for name in ATTRIBUTES)

    # The others can take at most len(true) - 1 of a shape's best, so that more are never needed.
    options: list[list[tuple[int, int | None]]] = []
    for shape in true:
        scored = [(equal(one, shape), i) for i, one in enumerate(told)]
        ranked = sorted((-score, i) for score, i in scored if score)[: len(true)]
        options.append([*((-score, i) for score, i in ranked), (0, None)])
    best = (0, 0)
    chosen: tuple[tuple[int, int | None], ...] = ()
    for choice in product(*options):
        taken = [i for _, i in choice if i is not None]
        total = (sum(score for score, _ in choice), len(taken))
        if total > best and len(set(taken)) == len(taken):
            best, chosen = total, choice
    return {i: number for number, (_, i) in enumerate(chosen) if i is not None}


def _referent(
    one: ReadObject, told: tuple[ReadObject, ...], matches: dict[int, int], scene: Scene
) -> int | None:
    """The true object that a relation means: through the caption's own objects first."""
    for i, known in enumerate(told):
        if i in matches and refers(known, one):
            return matches[i]
    for number, shape in enumerate(scene.shapes):
        if (one.color, one.kind) == (shape.color, shape.kind):
            return number
    return None


def _share(part: int, of: int) -> float:
    return part / of if of else 0.0


@dataclass(frozen=True)
class CaptionScore:
    """Counts over one caption, or over many added up (`sum(scores, CaptionScore())`).

    Attributes:
        captions: How many.
        told: Facts told of true things, asked for or not.
        right: Told facts that are true.
        asked: Facts asked for.
        asked_told: Asked facts that are told, right or wrong.
        asked_right: Asked facts that are told right.
        objects: Objects told.
        invented: Told objects without a match.
        missing: True objects without a match.
        whole: Captions that tell everything asked for, and tell nothing wrong or invented.
    """

    captions: int = 0
    told: int = 0
    right: int = 0
    asked: int = 0
    asked_told: int = 0
    asked_right: int = 0
    objects: int = 0
    invented: int = 0
    missing: int = 0
    whole: int = 0

    def __add__(self, other: "CaptionScore") -> "CaptionScore":
        return CaptionScore(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(CaptionScore))
        )

    @property
    def right_share(self) -> float:
        """Share of the told facts that are right, 0 to 1; 0 if none is told."""
        return _share(self.right, self.told)

    @property
    def told_share(self) -> float:
        """Share of the asked facts that are told, right or wrong, 0 to 1."""
        return _share(self.asked_told, self.asked)

    @property
    def asked_right_share(self) -> float:
        """Share of the asked facts that are told right, 0 to 1."""
        return _share(self.asked_right, self.asked)

    @property
    def invented_share(self) -> float:
        """Share of the told objects that are invented, 0 to 1; 0 if none is told."""
        return _share(self.invented, self.objects)

    @property
    def whole_share(self) -> float:
        """Share of the captions that are wholly right, 0 to 1."""
        return _share(self.whole, self.captions)


def score_caption(text: str, scene: Scene, length: str) -> CaptionScore:
    """Scores a caption against the truth.

    Args:
        text: Any text.
        scene: The truth.
        length: One of `words.LENGTHS`; what the caption has to tell.

    Returns:
        The counts for this one caption.

    Raises:
        ValueError: There is no such length.
    """
    asked = asked_facts(scene, length)
    told = _told(text, scene)
    right = sum(told.right(scene, fact) for fact in told.facts)
    told_count = len(told.facts) + told.lost.total()
    asked_right = sum(told.right(scene, fact) for fact in asked)
    nothing_wrong = right == told_count and not told.invented
    return CaptionScore(
        captions=1,
        told=told_count,
        right=right,
        asked=len(asked),
        asked_told=sum(fact in told.facts for fact in asked),
        asked_right=asked_right,
        objects=told.objects,
        invented=told.invented.total(),
        missing=told.missing,
        whole=int(nothing_wrong and asked_right == len(asked)),
    )


@dataclass(frozen=True)
class RefinementScore:
    """Counts over one refined caption, or over many added up.

    Attributes:
        wrong: Things that the poor caption tells wrong.
        corrected: Wrong things that the refined one has right.
        right: Facts that the poor caption tells right.
        kept: Right facts that the refined one still tells right.
    """

    wrong: int = 0
    corrected: int = 0
    right: int = 0
    kept: int = 0

    def __add__(self, other: "RefinementScore") -> "RefinementScore":
        return RefinementScore(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(RefinementScore))
        )

    @property
    def corrected_share(self) -> float:
        """Share of the wrong things that are corrected, 0 to 1; 0 if nothing was wrong."""
        return _share(self.corrected, self.wrong)

    @property
    def kept_share(self) -> float:
        """Share of the right facts that are kept, 0 to 1; 0 if nothing was right."""
        return _share(self.kept, self.right)


def score_refinement(poor: str, refined: str, scene: Scene) -> RefinementScore:
    """Scores how a caption was refined.

    A wrong fact is corrected if the refined caption tells it right, or does not tell it where the
    truth needs no words (a texture told of a plain shape). An invented object, and a relation told
    of something that is not there, is one wrong thing, corrected if the refined caption no longer
    tells it. An object that the poor caption leaves out is neither wrong nor right.

    Args:
        poor: Any text.
        refined: Any text.
        scene: The truth.

    Returns:
        The counts for this one pair.
    """
    before, after = _told(poor, scene), _told(refined, scene)
    right = [fact for fact in before.facts if before.right(scene, fact)]
    wrong = [fact for fact in before.facts if not before.right(scene, fact)]
    needless = {"plain", "none", "", "flat"}
    corrected = sum(
        after.right(scene, fact)
        or (fact not in after.facts and _present(after, fact) and _truth(scene, fact) in needless)
        for fact in wrong
    )
    gone = (before.invented - after.invented).total() + (before.lost - after.lost).total()
    return RefinementScore(
        wrong=len(wrong) + before.invented.total() + before.lost.total(),
        corrected=corrected + gone,
        right=len(right),
        kept=sum(after.right(scene, fact) for fact in right),
    )


def _present(told: _Told, fact: Fact) -> bool:
    """Whether every object that a fact is about is told at all."""
    return all(any(known.about == (i,) for known in told.facts) for i in fact.about)
