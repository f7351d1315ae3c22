"""Scores captions against the scene that they should tell: counts of facts, and their shares.

`caption_facts` says which facts a caption has to tell, `caption_matching` which it tells.
"""

from dataclasses import dataclass, fields

from nucleus_data.world.caption_facts import asked_facts
from nucleus_data.world.caption_matching import told_facts
from nucleus_data.world.scenes import Scene


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
        return share(self.right, self.told)

    @property
    def told_share(self) -> float:
        """Share of the asked facts that are told, right or wrong, 0 to 1."""
        return share(self.asked_told, self.asked)

    @property
    def asked_right_share(self) -> float:
        """Share of the asked facts that are told right, 0 to 1."""
        return share(self.asked_right, self.asked)

    @property
    def invented_share(self) -> float:
        """Share of the told objects that are invented, 0 to 1; 0 if none is told."""
        return share(self.invented, self.objects)

    @property
    def whole_share(self) -> float:
        """Share of the captions that are wholly right, 0 to 1."""
        return share(self.whole, self.captions)


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
    told = told_facts(text, scene)
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


def share(part: int, of: int) -> float:
    """A part's share of a count, 0 to 1; 0 of nothing."""
    return part / of if of else 0.0
