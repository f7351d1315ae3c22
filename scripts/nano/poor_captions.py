"""Poor captions against true ones, as the demo's pictures come with them.

True is what tells the picture and nothing else: sentences, a bare list of things, the same in
another language. Poor is what stands in `alt` attributes and tells no picture, a file's name,
another picture's caption, and a caption with one fact wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from nucleus_data.engines.clip import Clip
from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.world.expected import OWN
from nucleus_data.world.plan import WorldPlan, WorldSettings
from nucleus_data.world.scenes import Level
from nucleus_data.world.write import make
from scripts.nano.measuring import auc

TRUE = ("good", "terse", "other_language")
POOR = ("generic", "file_name", "partly_wrong", "other_image")
# As `nucleus demo` plants faults.
FAULT_SHARE, STRENGTHS = 0.25, (2, 1, 0)
MAX_SIDE = 1024


@dataclass(frozen=True)
class Captioned:
    """A picture with the caption that came with it.

    Attributes:
        image: RGB, as the line decodes it.
        kind: One of `TRUE` and `POOR`.
        text: The caption.
        rejected: A rule of the recipe is there for the picture's planted fault.
    """

    image: Image.Image
    kind: str
    text: str
    rejected: bool


def captioned(count: int, seed: int, level: Level) -> list[Captioned]:
    """The pictures of a demo's world that can be read and came with a caption.

    Args:
        count: Pictures of the world, the unreadable and those without a caption included.
        seed: Seed of the world.
        level: Its level.
    """
    plan = WorldPlan(WorldSettings(count, seed, level, FAULT_SHARE, strengths=STRENGTHS))
    rows = []
    for planned in plan:
        data, truth = make(plan, planned)
        if truth["alt_kind"] not in TRUE + POOR:
            continue
        try:
            image = Image.fromarray(open_picture(data).rgb(max_side=MAX_SIDE))
        except PixelError:
            continue
        rejected = planned.fault in OWN
        rows.append(Captioned(image, truth["alt_kind"], truth["alt_text"], rejected))
    return rows


def poor_figures(clip: Clip, rows: Sequence[Captioned]) -> dict[str, float]:
    """Areas under the curve of the cosine, of true captions against poor ones.

    Returns:
        `auc_poor`, and `auc_poor_kept` of the pictures alone that no rule is there to reject;
        `auc_poor_KIND` of all true captions against the poor ones of a kind, and `auc_true_KIND` of
        the true ones of a kind against all poor ones.
    """
    texts = clip.texts([row.text for row in rows])
    cosine = (clip.images([row.image for row in rows]) * texts).sum(1)
    kind = np.array([row.kind for row in rows])
    kept = np.array([not row.rejected for row in rows])
    true, poor = np.isin(kind, TRUE), np.isin(kind, POOR)
    figures = {
        "auc_poor": auc(cosine[true], cosine[poor]),
        "auc_poor_kept": auc(cosine[true & kept], cosine[poor & kept]),
    }
    figures |= {f"auc_poor_{name}": auc(cosine[true], cosine[kind == name]) for name in POOR}
    figures |= {f"auc_true_{name}": auc(cosine[kind == name], cosine[poor]) for name in TRUE}
    return figures
