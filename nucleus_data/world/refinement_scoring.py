"""Scores how a poor caption was refined: what was corrected, and what was kept."""

from dataclasses import dataclass, fields

from nucleus_data.world.caption_facts import Fact, true_value
from nucleus_data.world.caption_matching import Told, told_facts
from nucleus_data.world.caption_scoring import share
from nucleus_data.world.scenes import Scene


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
        return share(self.corrected, self.wrong)

    @property
    def kept_share(self) -> float:
        """Share of the right facts that are kept, 0 to 1; 0 if nothing was right."""
        return share(self.kept, self.right)


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
    before, after = told_facts(poor, scene), told_facts(refined, scene)
    right = [fact for fact in before.facts if before.right(scene, fact)]
    wrong = [fact for fact in before.facts if not before.right(scene, fact)]
    needless = {"plain", "none", "", "flat"}
    corrected = sum(
        after.right(scene, fact)
        or (
            fact not in after.facts
            and _present(after, fact)
            and true_value(scene, fact) in needless
        )
        for fact in wrong
    )
    gone = (before.invented - after.invented).total() + (before.lost - after.lost).total()
    return RefinementScore(
        wrong=len(wrong) + before.invented.total() + before.lost.total(),
        corrected=corrected + gone,
        right=len(right),
        kept=sum(after.right(scene, fact) for fact in right),
    )


def _present(told: Told, fact: Fact) -> bool:
    """Whether every object that a fact is about is told at all."""
    return all(any(known.about == (i,) for known in told.facts) for i in fact.about)
