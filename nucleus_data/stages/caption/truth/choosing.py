"""Chooses the pictures of a run that truth tests ask about again."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from nucleus_data.hashing import keyed_uint64
from nucleus_data.stages.caption.truth.verdict import Probe, Verdict, is_strange, looks_different

OF_A_TEXT = 6  # maximum number of pictures with the same text that are asked about again


def dissimilar(window: Sequence[Probe], known: Sequence[Probe], count: int) -> list[Probe]:
    """Chooses dissimilar pictures by farthest-point sampling of their thumbnails.

    Args:
        window: The pictures to choose from; the result does not depend on their order.
        known: Pictures chosen before.
        count: Number of pictures to choose.
    """
    left = sorted((p for p in window if p not in known), key=lambda p: _keyed(p))
    if not left:
        return []
    looks = np.stack([probe.look.ravel() for probe in left])
    nearest = np.full(len(left), np.inf, np.float32)
    for probe in known:
        nearest = np.minimum(nearest, np.abs(looks - probe.look.ravel()).mean(axis=1))
    chosen: list[int] = []
    for _ in range(min(count, len(left))):
        farthest = int(nearest.argmax())  # the first one of a tie
        chosen.append(farthest)
        nearest = np.minimum(nearest, np.abs(looks - looks[farthest]).mean(axis=1))
        nearest[farthest] = -1
    return [left[number] for number in chosen]


def suspects(window: Sequence[Probe], count: int) -> list[Probe]:
    """Chooses different pictures with the same caption, to be asked about again.

    Those with the longest texts come first, as short texts are often rightly the same.

    Args:
        window: The run's captions in the window.
        count: Maximum number of pictures.
    """
    groups: dict[tuple[str, str], list[Probe]] = defaultdict(list)
    for probe in sorted(window, key=lambda p: p.order):
        if probe.crowd:
            groups[probe.variant, probe.crowd].append(probe)
    chosen: list[Probe] = []
    for (_, _), group in sorted(groups.items(), key=lambda item: (-len(item[0][1]), item[0])):
        # Includes the first one: if the engine reused an old picture, the text is that picture's.
        members = [group[0], *sorted(group[1:], key=_keyed)][:OF_A_TEXT]
        if any(looks_different(members[0], other) for other in members[1:]):
            chosen += [probe for probe in members if probe.alone is None]
    return chosen[:count]


def neighbours(window: Sequence[Probe], verdict: Verdict, count: int) -> list[Probe]:
    """Chooses pictures asked just before and after those whose answers differ, the likely owners.

    Args:
        window: The run's captions in the window.
        verdict: The current result.
        count: Maximum number of pictures.
    """
    chosen: list[Probe] = []
    for probe in verdict.unlike:
        line = sorted((p for p in window if p.variant == probe.variant), key=lambda p: p.order)
        if is_strange(probe, [p for p in line if p.crowd is not None], ties=0.5):
            at = line.index(probe)
            beside = [*line[max(at - 1, 0) : at], *line[at + 1 : at + 2]]
            chosen += [p for p in beside if p.alone is None and p.crowd and p not in chosen]
    return chosen[:count]


def _keyed(probe: Probe) -> tuple[int, str]:
    return keyed_uint64("caption.probes", 0, probe.id), probe.key
