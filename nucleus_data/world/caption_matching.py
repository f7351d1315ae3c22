"""What a caption tells of a known scene: its objects matched to the true ones, fact by fact.

- Told objects are matched to true ones, so that one wrong colour is one wrong fact and not a
  missing object and an invented one. A pair needs the same kind or the same colour.
- A told object without a match is *invented*. Its attributes are in no count of facts: an invention
  is counted once, as such. "Blue hexagon" has a wrong kind if it matches a blue shape, else it is
  invented.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import product

from nucleus_data.world.caption_facts import Fact, true_value
from nucleus_data.world.reading import ATTRIBUTES, ReadObject, either, read_caption, refers
from nucleus_data.world.scenes import Scene, Shape
from nucleus_data.world.words import LEFT_OF


@dataclass(frozen=True)
class Told:
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
        """Whether a fact is told, and true."""
        return fact in self.facts and self.facts[fact] == true_value(scene, fact)


def told_facts(text: str, scene: Scene) -> Told:
    """Reads a caption and compares it with the scene that it is about."""
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
    return Told(facts, lost, invented, missing, len(read.objects))


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
